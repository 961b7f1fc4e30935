# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fresh login that a change of a host's firewall is proved by."""

from __future__ import annotations

import contextlib

from ansible.errors import AnsibleError

from ansible_collections.gofleet.golang.plugins.plugin_utils import channel, errors

FAILURES = (channel.Failed, errors.Refused, AnsibleError)
HINT = "look for a rule on the host that comes before gofleet's, or for an address that allow does not have"


def prove(connection, run, arguments, token, result):
    """Log in afresh and confirm the firewall's new rules, or have the old ones brought back at once.

    A timer on the host does that too, where the connection that there is does not help any more.
    """

    def tell(act):
        control = {k: v for k, v in arguments["_gofleet"].items() if k in ("prefix", "host", "controller", "run")}
        return run(dict(arguments, _gofleet=dict(control, **{act: token})))

    try:
        with _afresh(connection):
            answer = tell("confirm")
        if not answer.get("failed"):
            return result
        why = answer.get("msg", "")
    except FAILURES as err:
        why = str(err)
    back = "the old ones are back"
    try:
        answer = tell("restore")
        if answer.get("failed"):
            back = answer.get("msg", "")
    except FAILURES:
        back = "the host brings the old ones back within a minute"
    msg = "a fresh login did not come through the firewall's new rules, and %s: %s; %s" % (back, why, HINT)
    return dict(result, failed=True, kind="lockout", msg=msg, hint=HINT)


@contextlib.contextmanager
def _afresh(connection):
    """Have commands come to the host over connections of their own: an established one says nothing of a firewall."""
    if connection.transport.rpartition(".")[2] != "ssh":
        if hasattr(connection, "reset"):
            connection.reset()
        yield
        return
    before = connection.get_option("ssh_args")
    # Of an option that is given twice, ssh takes the first.
    connection.set_option("ssh_args", "-o ControlPath=none -o ControlMaster=no %s" % (before or ""))
    try:
        yield
    finally:
        connection.set_option("ssh_args", before)
