# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why an archive is not used, or a host is not served."""

from __future__ import annotations


class Refused(Exception):
    """A failure of a kind of docs/errors.md, with its way out."""

    def __init__(self, kind, message, hint=""):
        super().__init__(message)
        self.kind = kind
        self.hint = hint


class Missing(Refused):
    """There is no archive. Only a host that needs one has to know."""


class Unjudged(Refused):
    """Whether an archive can be believed cannot be told here."""
