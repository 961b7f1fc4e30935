# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One task of the collection: gofleet's agent on a host, driven over Ansible's connection."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import json
import os
import secrets
import shlex
import socket
import tempfile
from collections.abc import Mapping, Sequence

from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.gofleet.golang.plugins.plugin_utils import archives, authorities, bootstrap, errors, local, programs

PREFIX = "gofleet_"
PIECE = 8 << 20

# What a host may put into the result. Anything else, such as facts, is dropped.
RESULT = (
    "changed", "failed", "msg", "hint", "kind", "errors", "unmet", "status", "go", "actions",
    "drift", "checks", "diff", "warnings", "met", "would_change",
)  # fmt: skip


class Failed(Exception):
    """The task cannot go on, for a reason that its text tells."""


class AgentTask(ActionBase):
    """Bring the agent, its arguments and, if it asks for one, the archive; return its result."""

    TRANSFERS_FILES = False
    INFO = False
    _supports_async = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """Do one task on one host."""
        try:
            self._refuse_what_cannot_work()
            super().run(tmp, task_vars)
            self._vars = task_vars or {}
            self._agents = programs.load()
            self._stdin = self._has_stdin()
            arguments = self._arguments()
            result = self._judge_first(arguments) or self._converse(arguments)
        except errors.Refused as err:
            result = {"changed": False, "failed": True, "kind": err.kind, "hint": err.hint}
            result["msg"] = "%s; %s" % (err, err.hint) if err.hint else str(err)
        except (Failed, authorities.Unusable, programs.Missing) as err:
            # As a result: Ansible before 2.19 announces an exception as such.
            result = {"changed": False, "failed": True, "msg": str(err)}
        return {key: result[key] for key in RESULT if key in result}

    def _refuse_what_cannot_work(self):
        if self._task.async_val:
            raise Failed(
                "%s does not support async: an archive may have to be brought while the task runs. "
                "Remove async and poll; forks already run hosts at the same time" % self._task.action
            )
        modules = [type(self._connection).__module__] + [c.__module__ for c in type(self).__mro__]
        if any(m.startswith("ansible_mitogen") for m in modules):
            raise Failed(
                "%s does not work with Mitogen, which needs Python on the host and replaces Ansible's connections. "
                "Run this play with strategy: linear" % self._task.action
            )
        shell = getattr(self._connection, "_shell", None)
        if getattr(shell, "SHELL_FAMILY", "sh") == "powershell" or getattr(self._connection, "_remote_is_local", False):
            raise Failed(
                "%s needs a Linux host with a POSIX shell; the connection %s has none" % (self._task.action, self._connection.transport)
            )

    def _has_stdin(self):
        """Tell whether a command on the host can be given standard input."""
        become = self._connection.become
        if not self._connection.has_pipelining:
            return False
        if become and not getattr(become, "pipelining", become.name.rpartition(".")[2] != "su"):
            return False
        if become and self._connection.transport.rpartition(".")[2] == "local":
            # With a password, Ansible puts a terminal there.
            return not self.get_become_option("become_pass")
        return True

    def _login(self):
        """Tell how the shell line gets to know who logged in."""
        become = self._connection.become
        if not become:
            return "self"
        return "sudo" if become.name.rpartition(".")[2] == "sudo" else ""

    def _arguments(self):
        """Give what the agent is told: the task's arguments, and who asks."""
        given = {str(k): _plain(v) for k, v in self._task.args.items()}
        prefix = ""
        if _truth(given.pop("from_variables", False)):
            prefix = PREFIX
            given = self._with_variables(given)
        self._option = prefix + "archives"
        self._root = given.get(prefix + "root")
        trust = prefix + "ca_certificates"
        if given.get(trust) and given.get("state", "present") == "present":
            directory = self._vars.get("inventory_dir") or os.getcwd()
            given[trust] = authorities.read(given[trust], str(directory), trust)
        given.update(
            info=self.INFO,
            _ansible_check_mode=bool(self._task.check_mode) and not self.INFO,
            _ansible_diff=bool(self._task.diff),
        )
        given["_gofleet"] = {
            "prefix": prefix,
            "host": str(self._vars.get("inventory_hostname", "")),
            "controller": "%s@%s" % (_user(), socket.gethostname()),
            "run": "ansible-%d" % os.getppid(),
        }
        return given

    def _with_variables(self, given):
        """Give the host's gofleet_ variables, and over them the options of the task."""
        own = ("state", "version", "deep")
        merged = {k: v for k, v in given.items() if k in own}
        for name in sorted(self._vars):
            if not name.startswith(PREFIX):
                continue
            value = _plain(self._templar.template(self._vars[name]))
            if not (isinstance(value, dict) and "changed" in value):  # what a task has registered
                merged[name] = value
        merged.update({PREFIX + k: v for k, v in given.items() if k not in own})
        return merged

    def _judge_first(self, arguments):
        """Judge the archives that the host could ask for before it hears anything, or give the result of wrong arguments.

        One that is not believed ends the task. What a server has is left until the host's platform is known, and
        so is what cannot be judged here, which a host in no need of it need not care about.
        """
        self._later, self._believed = {}, {}
        result, questions = (None, []) if self.INFO else local.questions(arguments, [a.platform for a in self._agents])
        for question in questions:
            if archives.is_remote(question):
                self._later[question["platform"]] = question
                continue
            try:
                self._archive(question)
            except errors.Missing:
                pass
            except errors.Unjudged:
                self._later[question["platform"]] = question
        return result

    def _judge_rest(self, platform):
        """Judge what the host could ask for before the agent travels to it."""
        question = self._later.pop(platform, None)
        if question:
            with contextlib.suppress(errors.Missing):
                self._archive(question)

    def _converse(self, arguments):
        """Run the agent until it needs nothing more. It is started again with each answer."""
        control = arguments["_gofleet"]
        archive, tries = None, 0
        control["offers"] = self._offers()
        result = self._run_agent(arguments)
        while True:
            question = result.pop("_gofleet", None)
            if not question:
                return result
            if "archive" in question:
                archive = self._archive(question["archive"])
                if self._task.check_mode:
                    return result
                archive.prepare(self._hosts())
                self._settle(control, archive)
                result = self._run_agent(arguments)
                continue
            need, tries = question["need"], tries + 1
            if archive is None:  # one of those that were offered
                archive = self._believed[need["platform"]][1]
                self._settle(control, archive)
            if tries > 3 + archive.size // PIECE:
                raise Failed("the agent asks again for what it was sent; what travels to this host does not arrive as it was")
            result = self._bring(arguments, archive, need, tries == 1)

    def _settle(self, control, archive):
        control.pop("offers", None)
        control.update(archive.offer())

    def _offers(self, only=None):
        """Give the archives that are ready to travel, for the platform that a host has or for all of them."""
        if self._task.check_mode:
            return []
        return [
            archive.offer()
            for platform, (asked, archive) in sorted(self._believed.items())
            if only in (None, platform) and archive.unchanged() and archive.prepare(self._hosts(), make=False)
        ]

    def _hosts(self):
        return len(self._vars.get("ansible_play_hosts_all") or [None])

    def _archive(self, question):
        asked, archive = self._believed.get(question["platform"], (None, None))
        if asked != question or not archive.unchanged():
            directory = self._vars.get("inventory_dir") or os.getcwd()
            archive = archives.find(question, str(directory), self._option)
            self._believed[question["platform"]] = question, archive
        return archive

    def _bring(self, arguments, archive, need, first):
        """Send the archive, or what the host does not have of it, and run the agent again."""
        control, offset = arguments["_gofleet"], int(need["offset"])
        for key in ("rest", "piece", "offset"):
            control.pop(key, None)
        if first and offset == 0 and need.get("direct"):
            # The agent has made a file for the login user to write to.
            try:
                self._transfer_archive(archive.file, str(need["path"]))
                control["transfer"] = archive.transfer(whole=True, manifest=True)
            except AnsibleConnectionFailure:
                raise
            except AnsibleError as err:
                Display().vvv("gofleet: %s; trying another way" % err)
            return self._run_agent(arguments)
        control["offset"] = offset
        control["transfer"] = archive.transfer(manifest=not self._stdin or archive.size - offset <= PIECE)
        if self._stdin:
            with open(archive.file, "rb") as f:
                f.seek(offset)
                data = f.read(PIECE)
            control["piece"] = len(data)
            result = self._run_agent(arguments, data)
            if result is not None:
                return result
            control.pop("piece")
        control["rest"] = self._upload_rest(archive, offset)
        return self._run_agent(arguments)

    def _transfer_archive(self, local, remote):
        """Put the archive on the host. It is compressed, and ssh's -C would spend seconds on compressing it again.

        Whether a connection compresses is settled when it is made, so this takes one of its own.
        """
        words = _uncompressed(self.get_connection_option("ssh_args") or "") if self._connection.transport == "ssh" else None
        if words is not None:
            before = self._connection.get_option("ssh_args")
            self._connection.set_option("ssh_args", words)
            try:
                self._transfer_file(local, remote)
                return
            except AnsibleError as err:  # such as a login that asks a person
                Display().vvv("gofleet: %s; trying the connection there is" % err)
            finally:
                self._connection.set_option("ssh_args", before)
        self._transfer_file(local, remote)

    def _upload_rest(self, archive, offset):
        """Put the archive from offset on into the task's directory on the host."""
        remote = self._connection._shell.join_path(self._tmp(), "archive")
        if offset == 0:
            self._transfer_file(archive.file, remote)
        else:
            with open(archive.file, "rb") as f:
                f.seek(offset)
                self._send_bytes(f.read(), remote)
        self._fixup_perms2((self._tmp(), remote), execute=False)
        return remote

    def _run_agent(self, arguments, data=b""):
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
        raise Failed(_failure(word, rest))

    def _bring_agent(self, arguments, said):
        system, machine, gz = (said.split() + ["", "", ""])[:3]
        agent = programs.for_machine(self._agents, machine) if system == "Linux" else None
        if agent is None:
            raise Failed(
                "there is no agent for %s %s; there are agents for: %s" % (system, machine, ", ".join(sorted(a.platform for a in self._agents)))
            )
        self._judge_rest(agent.platform)
        if "offers" in arguments["_gofleet"]:
            arguments["_gofleet"]["offers"] = self._offers(agent.platform)
        text = _line(arguments)
        if not self._stdin:
            remote = self._connection._shell.join_path(self._tmp(), "gofleet-agent")
            self._send_bytes(agent.program(), remote)
            self._fixup_perms2((self._tmp(), remote))
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
            self._fixup_perms2((self._tmp(), where), execute=False)
        line = bootstrap.command(
            marker, programs.listed(self._agents), self._login(), act, where, program,
            root=self._root if isinstance(self._root, str) else "/usr/local/lib/gofleet",
            env=self._compute_environment_string(),
        )  # fmt: skip
        done = self._low_level_execute_command(line, in_data=in_data)
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
            self._make_tmp_path()
        return self._connection._shell.tmpdir

    def _send_bytes(self, content, remote):
        fd, local = self._local_file()
        try:
            with os.fdopen(fd, "wb") as f:
                f.write(content)
            self._transfer_file(local, remote)
        finally:
            os.unlink(local)

    def _local_file(self):
        return tempfile.mkstemp(dir=C.DEFAULT_LOCAL_TMP, prefix="gofleet-")


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


def _failure(word, rest):
    if word == "noexec":
        return "the agent cannot be started: no directory takes programs that may run; tried%s" % rest
    if word == "corrupt":
        return "the agent did not arrive as it was sent; run the same play again"
    if word == "died":
        return "the agent could not be run, or was killed: exit code %s" % rest
    return "the host's answer is not understood: %s" % word


def _decode(text):
    try:
        result = json.loads(text)
    except ValueError as err:
        raise Failed("the agent's result is no JSON: %s" % err) from err
    if not isinstance(result, dict):
        raise Failed("the agent's result is no dictionary")
    return result


def _plain(value):
    """Give a value as JSON has it, whatever Ansible has wrapped it in."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and not hasattr(value, "encode"):
        return [_plain(v) for v in value]
    return str(value)


def _truth(value):
    return str(value).strip().lower() in ("true", "yes", "on", "1", "y", "t")


def _user():
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
