# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way to one host: gofleet's agent, what it is told, and the bytes that it asks for, over Ansible's connection."""

from __future__ import annotations

import datetime
import json
import os
import secrets
import shlex
import tempfile

from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.utils.display import Display

from ansible_collections.gofleet.golang.plugins.plugin_utils import bootstrap, programs
from ansible_collections.gofleet.golang.plugins.plugin_utils.errors import Refused

PIECE = 8 << 20


class Failed(Exception):
    """The task cannot go on, for a reason that its text tells."""


class Channel:
    """Runs the agent on the host of an action plugin's task.

    root is where toolchains are to be. before is called with a platform and
    the arguments when an agent for it is about to travel.
    """

    def __init__(self, action, agents, root, before):
        self._action = action
        self._connection = action._connection
        self._agents = agents
        self._root = root if isinstance(root, str) else "/usr/local/lib/gofleet"
        self._before = before
        self._stdin = self._has_stdin()

    def _has_stdin(self):
        """Tell whether a command on the host can be given standard input."""
        become = self._connection.become
        if not self._connection.has_pipelining:
            return False
        if become and not getattr(become, "pipelining", become.name.rpartition(".")[2] != "su"):
            return False
        if become and self._connection.transport.rpartition(".")[2] == "local":
            # With a password, Ansible puts a terminal there.
            return not self._action.get_become_option("become_pass")
        return True

    def _login(self):
        """Tell how the shell line gets to know who logged in."""
        become = self._connection.become
        if not become:
            return "self"
        return "sudo" if become.name.rpartition(".")[2] == "sudo" else ""

    def run(self, arguments, data=b""):
        """Run the agent with arguments and, behind them, raw bytes; bring it first if it is not on the host.

        With data, None says that the agent is not there to take it.
        """
        word, rest = self._shell("run", _line(arguments), data)
        if word == "need":
            if data:
                return None
            word, rest = self._bring_agent(arguments, rest)
        if word == "result":
            return _decode(rest)
        raise _refusal(word, rest)

    def _bring_agent(self, arguments, said):
        system, machine, gz = (said.split() + ["", "", ""])[:3]
        agent = programs.for_machine(self._agents, machine) if system == "Linux" else None
        if agent is None:
            served = ", ".join(sorted(a.platform.partition("/")[2] for a in self._agents))
            raise Refused("platform", "there is no agent for this host: %s %s" % (system, machine), "gofleet serves linux on " + served)
        self._before(agent.platform, arguments)
        text = _line(arguments)
        if not self._stdin:
            remote = self._connection._shell.join_path(self._tmp(), "gofleet-agent")
            self._send_bytes(agent.program(), remote)
            self._action._fixup_perms2((self._tmp(), remote))
            return self._shell("bring", text, program="%d %s raw %s" % (agent.size, agent.sha256, remote))
        form, program = ("gz", agent.compressed()) if gz == "gzip=1" else ("raw", agent.program())
        head = "%d %s %s %d\n" % (agent.size, agent.sha256, form, len(program))
        return self._shell("bring", head.encode() + text, program)

    def _shell(self, act, text, data=b"", program=""):
        """Run the shell line and give what the agent, or the line itself, says."""
        marker, where, in_data = secrets.token_hex(16), "", None
        if self._stdin:
            in_data = text + data
        else:
            where = self._connection._shell.join_path(self._tmp(), "arguments")
            self._send_bytes(text, where)
            self._action._fixup_perms2((self._tmp(), where), execute=False)
        line = bootstrap.command(
            marker, programs.listed(self._agents), self._login(), act, where, program,
            root=self._root, env=self._action._compute_environment_string(),
        )  # fmt: skip
        done = self._action._low_level_execute_command(line, in_data=in_data)
        found = bootstrap.answer(marker, done["stdout"])
        if found is None and self._stdin and "tty" in done["stderr"].lower():
            # sudo wants a terminal, which a command with standard input has not.
            self._stdin = False
            if act == "run" and not data:
                return self._shell(act, text)
        if found is None:
            said = (done["stderr"] or done["stdout"]).strip().splitlines()
            raise Failed(
                "the agent could not be started%s (exit code %s)" % (": " + said[-1] if said else ", and nothing was said", done["rc"])
            )
        return found

    def _tmp(self):
        if self._connection._shell.tmpdir is None:
            self._action._make_tmp_path()
        return self._connection._shell.tmpdir

    def _send_bytes(self, content, remote):
        fd, local = tempfile.mkstemp(dir=C.DEFAULT_LOCAL_TMP, prefix="gofleet-")
        try:
            with os.fdopen(fd, "wb") as f:
                f.write(content)
            self._action._transfer_file(local, remote)
        finally:
            os.unlink(local)

    def bring(self, arguments, load, need, first):
        """Send a load, or what the host does not have of it, and run the agent again.

        A load is a file, its size, and what the agent is told of it.
        """
        control, offset = arguments["_gofleet"], int(need["offset"])
        if first and offset == 0 and need.get("direct"):
            # The agent has made a file for the login user to write to.
            try:
                self._transfer(load.file, str(need["path"]))
                load.announce(control, whole=True, manifest=True)
            except AnsibleConnectionFailure:
                raise
            except AnsibleError as err:
                Display().vvv("gofleet: %s; trying another way" % err)
            return self.run(arguments)
        control["offset"] = offset
        load.announce(control, manifest=not self._stdin or load.size - offset <= PIECE)
        if self._stdin:
            with open(load.file, "rb") as f:
                f.seek(offset)
                data = f.read(PIECE)
            control["piece"] = len(data)
            result = self.run(arguments, data)
            if result is not None:
                return result
            control.pop("piece")
        control["rest"] = self._upload_rest(load.file, offset)
        return self.run(arguments)

    def _transfer(self, local, remote):
        """Put a load on the host. It is compressed, and ssh's -C would spend seconds on compressing it again.

        Whether a connection compresses is settled when it is made, so this takes one of its own.
        """
        words = _uncompressed(self._action.get_connection_option("ssh_args") or "") if self._connection.transport == "ssh" else None
        if words is not None:
            before = self._connection.get_option("ssh_args")
            self._connection.set_option("ssh_args", words)
            try:
                self._action._transfer_file(local, remote)
                return
            except AnsibleError as err:  # such as a login that asks a person
                Display().vvv("gofleet: %s; trying the connection there is" % err)
            finally:
                self._connection.set_option("ssh_args", before)
        self._action._transfer_file(local, remote)

    def _upload_rest(self, path, offset):
        """Put the file from offset on into the task's directory on the host."""
        remote = self._connection._shell.join_path(self._tmp(), "load")
        if offset == 0:
            self._action._transfer_file(path, remote)
        else:
            with open(path, "rb") as f:
                f.seek(offset)
                self._send_bytes(f.read(), remote)
        self._action._fixup_perms2((self._tmp(), remote), execute=False)
        return remote


def _line(arguments):
    """Give what the agent reads first."""
    arguments["_gofleet"]["now"] = datetime.datetime.now(datetime.timezone.utc).isoformat()
    return json.dumps(arguments, ensure_ascii=True).encode() + b"\n"


def _uncompressed(ssh_args):
    """Give the arguments of ssh without compression and connection sharing, or None if they have no compression."""
    try:
        words = shlex.split(ssh_args)
    except ValueError:
        return None
    if "-C" not in words:
        return None
    out = []
    for word in words:
        option = word.removeprefix("-o").lower()
        if word == "-C" or option.startswith(("controlmaster", "controlpersist", "controlpath")):
            if out and out[-1] == "-o" and not word.startswith("-"):
                out.pop()
            continue
        out.append(word)
    return shlex.join(out)


def _refusal(word, rest):
    """Give why the agent does not run on the host, as gofleet says it."""
    if word == "noexec":
        return Refused(
            "agent_failed",
            "start the agent: no directory to start a program from (tried %s)" % ", ".join(dict.fromkeys(rest.split())),
            "one of them must be writable, not be mounted noexec, and no other user may be able to change it or what is above it; "
            "set TMPDIR in the task's environment to a place that is so",
        )
    if word == "corrupt":
        return Refused("agent_failed", "start the agent: what arrived on the host is not what was sent", "run the same play again")
    if word == "died":
        return Refused(
            "agent_failed",
            "start the agent: it cannot run on this host, or was killed (exit code %s)" % rest,
            "the kernel may be too old, of another architecture, or set up to run known programs only (fapolicyd, SELinux)",
        )
    return Failed("the host's answer is not understood: %s" % word)


def _decode(text):
    try:
        result = json.loads(text)
    except ValueError as err:
        raise Failed("the agent's result is no JSON: %s" % err) from err
    if not isinstance(result, dict):
        raise Failed("the agent's result is no dictionary")
    return result
