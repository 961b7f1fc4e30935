# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One task of the collection: gofleet's agent on a host, driven over Ansible's connection."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
from collections.abc import Mapping, Sequence

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ansible_collections.gofleet.golang.plugins.doc_fragments.variables import ModuleDocFragment
from ansible_collections.gofleet.golang.plugins.plugin_utils import archives, authorities, channel, errors, filetrees, fresh, local, programs

PREFIX = "gofleet_"
OPTIONS = re.findall(r"^  (\w+):$", ModuleDocFragment.DOCUMENTATION, re.MULTILINE)
VARIABLE = re.compile(r"(?<![\w/.-])%s(?=(?:%s)\b)" % (PREFIX, "|".join(OPTIONS)))

# What a host may put into the result. Anything else, such as facts, is dropped.
RESULT = (
    "changed", "failed", "msg", "hint", "kind", "errors", "unmet", "status", "go", "actions",
    "drift", "checks", "diff", "warnings", "met", "would_change",
)  # fmt: skip


class AgentTask(ActionBase):
    """Bring the agent, its arguments and, if it asks for one, the archive; return its result."""

    TRANSFERS_FILES = False
    INFO = False
    _option_prefix = ""
    _supports_async = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """Do one task on one host."""
        try:
            self._refuse_what_cannot_work()
            super().run(tmp, task_vars)
            self._vars = task_vars or {}
            self._agents = programs.load()
            self._notes = []
            arguments = self._arguments()
            self._channel = channel.Channel(self, self._agents, self._root, self._before_agent)
            result = self._judge_first(arguments) or self._converse(arguments)
            if self._notes:
                result["warnings"] = self._notes + list(result.get("warnings") or [])
        except errors.Refused as err:
            result = {"changed": False, "failed": True, "kind": err.kind, "msg": str(err)}
            if err.hint:
                result.update(hint=err.hint, msg="%s; %s" % (err, err.hint))
        except (channel.Failed, authorities.Unusable, programs.Missing) as err:
            # As a result: Ansible before 2.19 announces an exception as such.
            result = {"changed": False, "failed": True, "msg": str(err)}
        result = {key: result[key] for key in RESULT if key in result}
        return result if self._option_prefix else {k: v if k == "diff" else _as_options(v) for k, v in result.items()}

    def _refuse_what_cannot_work(self):
        if self._task.async_val:
            raise channel.Failed(
                "%s does not support async: an archive may have to be brought while the task runs. "
                "Remove async and poll; forks already run hosts at the same time" % self._task.action
            )
        modules = [type(self._connection).__module__] + [c.__module__ for c in type(self).__mro__]
        if any(m.startswith("ansible_mitogen") for m in modules):
            raise channel.Failed(
                "%s does not work with Mitogen, which needs Python on the host and replaces Ansible's connections. "
                "Run this play with strategy: linear" % self._task.action
            )
        shell = getattr(self._connection, "_shell", None)
        if getattr(shell, "SHELL_FAMILY", "sh") == "powershell" or getattr(self._connection, "_remote_is_local", False):
            raise channel.Failed(
                "%s needs a Linux host with a POSIX shell; the connection %s has none" % (self._task.action, self._connection.transport)
            )

    def _arguments(self):
        """Give what the agent is told: the task's arguments, and who asks."""
        given = _plain(self._task.args)
        if _truth(given.pop("from_variables", False), "from_variables"):
            self._option_prefix = PREFIX
            given = self._with_variables(given)
        prefix = self._option_prefix
        self._root = given.get(prefix + "root")
        trust = prefix + "ca_certificates"
        if given.get(trust) and given.get("state", "present") == "present":
            given[trust] = authorities.read(given[trust], self._directory(), trust)
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
        # As one dictionary: what is to be omitted has no place alone, since ansible-core 2.19.
        mine = self._templar.template({k: v for k, v in self._vars.items() if k.startswith(PREFIX)})
        merged = {k: v for k, v in _plain(mine, self._vars.get("omit")).items() if not _registered(v)}
        merged.update({k if k in own else PREFIX + k: v for k, v in given.items()})
        return merged

    def _judge_first(self, arguments):
        """Judge the archives that the host could ask for before it hears anything, or give the result of wrong arguments.

        One that is not believed ends the task. What a server has is left until the host's platform is known, and
        so is what cannot be judged here, which a host in no need of it need not care about.
        """
        self._later, self._believed, self._trees = {}, {}, {}
        if self.INFO and not any(arguments.get(prefix + part) for prefix in ("", PREFIX) for part in filetrees.PARTS):
            return None
        result, questions, files = local.questions(arguments, [a.platform for a in self._agents])
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
        if files:
            self._find_files(arguments, files)
        return result

    def _find_files(self, arguments, questions):
        """Find modules, sources and packages. An audit does without those that are not here."""
        control = arguments["_gofleet"]
        control["files"] = {}
        for question in questions:
            try:
                tree = filetrees.find(question, self._directory(), self._option_prefix, self.INFO)
            except (errors.Missing, errors.Unjudged) as err:
                if question["part"] == "packages":  # whoever lacks none needs none
                    control["files"]["packages"] = {"none": str(err), "hint": err.hint}
                    continue
                if not self.INFO:
                    raise
                self._notes.append("%s; whether the host's %s are the newest is not known" % (err, filetrees.PARTS[question["part"]]))
                continue
            self._trees[tree.part] = tree
            control["files"][tree.part] = {"release": tree.release}

    def _before_agent(self, platform, arguments):
        """Judge what the host could ask for before the agent travels to it, and offer it."""
        question = self._later.pop(platform, None)
        if question:
            with contextlib.suppress(errors.Missing):
                self._archive(question)
        if "offers" in arguments["_gofleet"]:
            arguments["_gofleet"]["offers"] = self._offers(platform)

    def _converse(self, arguments):
        """Run the agent until it needs nothing more. It is started again with each answer."""
        control = arguments["_gofleet"]
        archive, asked = None, {}
        control["offers"] = self._offers()
        result = self._channel.run(arguments)
        while True:
            question = result.pop("_gofleet", None)
            if not question:
                return result
            if "prove" in question:
                return fresh.prove(self._connection, self._channel.run, arguments, str(question["prove"]), result)
            for key in ("rest", "piece", "offset", "part"):
                control.pop(key, None)
            if "need" in question:
                need = question["need"]
                part = need.get("part", "")
                if part:
                    load = self._tree(part)
                else:
                    if archive is None:  # one of those that were offered
                        archive = self._believed[need["platform"]][1]
                        self._settle(control, archive)
                    load = archive
                first = _once_more(asked, part, 3 + load.size // channel.PIECE)
                result = self._channel.bring(arguments, load, need, first)
                continue
            if "archive" in question and not ("compare" in question or "index" in question or "lacks" in question):
                archive = self._archive(question["archive"])
                if self._task.check_mode:
                    return result
                archive.prepare(self._hosts())
                self._settle(control, archive)
            else:
                self._tell_files(arguments, question, asked)
            result = self._channel.run(arguments)

    def _tell_files(self, arguments, question, asked):
        """Answer what the agent asks of modules, sources and packages."""
        if "files" in question:
            _once_more(asked, "files", 1)
            self._find_files(arguments, question["files"])
            return
        lacks, index = question.get("lacks"), question.get("index")
        tree = self._tree((lacks or index)["part"] if lacks or index else question["compare"])
        _once_more(asked, "list of " + tree.part, 4)
        told = arguments["_gofleet"]["files"][tree.part]
        if index:
            told["index"] = {"name": str(index["name"]), "content": tree.index(str(index["name"]))}
        elif lacks:
            tree.prepare(lacks["lacks"])
            told.update(lacks=lacks["lacks"])
            tree.announce(arguments["_gofleet"])
        else:
            told["manifest"] = tree.manifest

    def _tree(self, part):
        if part not in self._trees:
            raise channel.Failed("the agent asks for %s, which were not offered" % part)
        return self._trees[part]

    def _directory(self):
        """Give what relative paths are relative to."""
        return str(self._vars.get("inventory_dir") or os.getcwd())

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
            archive = archives.find(question, self._directory(), self._option_prefix + "archives")
            self._believed[question["platform"]] = question, archive
        return archive


def _once_more(asked, what, most):
    """Count what the agent asks for, and tell whether it is the first time."""
    asked[what] = asked.get(what, 0) + 1
    if asked[what] > most:
        raise channel.Failed("the agent asks again for what it was sent; what travels to this host does not arrive as it was")
    return asked[what] == 1


def _as_options(value):
    """Give a result whose texts call variables what a task without from_variables calls them."""
    if isinstance(value, dict):
        return {k: _as_options(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_as_options(v) for v in value]
    return VARIABLE.sub("", value) if isinstance(value, str) else value


def _registered(value):
    """Tell whether a variable is what a task has registered."""
    return isinstance(value, dict) and "changed" in value


def _plain(value, omit=None):
    """Give a value as JSON has it, whatever Ansible has wrapped it in, without what stands for omit."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v, omit) for k, v in value.items() if omit is None or v != omit}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and not hasattr(value, "encode"):
        return [_plain(v, omit) for v in value if omit is None or v != omit]
    return str(value)


def _truth(value, option):
    try:
        return value not in (None, "") and boolean(value)
    except TypeError as err:
        raise channel.Failed("%s is %r, which is neither true nor false" % (option, value)) from err


def _user():
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
