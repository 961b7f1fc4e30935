# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.gofleet.golang.plugins.plugin_utils.agent_task import AgentTask


class ActionModule(AgentTask):
    """Run gofleet's agent on the host."""

    INFO = False
