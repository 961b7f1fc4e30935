# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept on the controller, and gofleet's agent that runs there."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import gzip
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time

from ansible.utils.display import Display

from ansible_collections.gofleet.golang.plugins.plugin_utils import programs

DAY = 86400
UNUSED = 60 * DAY  # seconds until what no play has asked for is removed


def cache_directory():
    """Give a directory that is this user's alone, or None."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    directory = os.path.join(base, "gofleet", "ansible")
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        for each in (os.path.dirname(directory), directory):
            st = os.stat(each)
            if st.st_uid != os.geteuid() or st.st_mode & 0o022:
                return None
    except OSError:
        return None
    return directory


@contextlib.contextmanager
def locked(path):
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def sweep(directory, unused=UNUSED):
    """Remove what has not been used for long. Who uses something sets its times."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        with contextlib.suppress(OSError):
            if name in ("downloads", "differences"):
                sweep(path, DAY if name == "differences" else unused)
            elif time.time() - os.stat(path).st_mtime > unused:
                if os.path.isdir(path):
                    shutil.rmtree(path)
                else:
                    os.unlink(path)


def _agent():
    """Give the path of an agent's program that runs on this machine, or None."""
    found = None
    with contextlib.suppress(programs.Missing):
        found = programs.for_machine(programs.load(), platform.machine()) if platform.system() == "Linux" else None
    directory = cache_directory()
    if found is None or directory is None:
        return None
    path = os.path.join(directory, "agent-" + found.sha256)
    with contextlib.suppress(OSError):
        os.utime(path)
        return path
    fd, new = tempfile.mkstemp(dir=directory, prefix=".new-")
    with os.fdopen(fd, "wb") as f:
        f.write(found.program())
    os.chmod(new, 0o700)
    os.rename(new, path)
    return path


def _run_agent(arguments, data=b"", timeout=600):
    """Give the JSON that the agent answers, or None if no agent runs on this machine."""
    try:
        program = _agent()
        if program is None:
            return None
        done = subprocess.run([program] + arguments, input=data, capture_output=True, check=True, timeout=timeout)
        found = json.loads(done.stdout)
        return found if isinstance(found, dict) else None
    except (OSError, subprocess.SubprocessError, ValueError) as err:
        Display().vvv("gofleet: no agent runs here: %s" % err)
        return None


def questions(arguments, platforms):
    """Give the result of a task whose arguments are wrong, and the archives and file trees that hosts of the platforms could ask for.

    Where no agent runs on this machine, what is wrong is told by the host, and it asks for its file trees.
    """
    found = _run_agent(["questions"] + platforms, json.dumps(arguments).encode() + b"\n")
    if found is None:
        return None, _plain_questions(arguments, platforms), []
    return found.get("result"), found.get("archives", []), found.get("files", [])


def _plain_questions(arguments, platforms):
    """Give the questions of an agent for arguments in which nothing is wrong; none where something may be."""
    prefix = arguments["_gofleet"]["prefix"]
    version, archives = arguments.get(prefix + "go_version"), arguments.get(prefix + "archives", "../archives")
    pins, keys = arguments.get(prefix + "sha256") or {}, arguments.get(prefix + "trusted_keys") or []
    conditions = arguments.get(prefix + "preconditions") or {}
    if arguments.get("info") or arguments.get("state") not in (None, "", "present") or not isinstance(version, str) or not isinstance(archives, str):
        return []
    if not isinstance(pins, dict) or not isinstance(conditions, dict) or not isinstance(keys, list):
        return []
    machines = conditions.get("arch", ["x86_64", "aarch64"]) or platforms
    pins = {_platform(name): str(pin).lower() for name, pin in pins.items()}
    wanted = [p for p in platforms if p in [_platform("linux/" + str(m).rpartition("/")[2]) for m in machines]]
    found = []
    for platform_name in wanted:
        base = "go%s.%s" % (version, platform_name.replace("/", "-"))
        question = {"version": version, "platform": platform_name, "archives": archives}
        question["names"] = [base + ".tar.gz", base + ".module.tar.gz"]
        if platform_name in pins:
            question["sha256"] = pins[platform_name]
        if keys:
            question["trusted_keys"] = keys
        found.append(question)
    return found


def _platform(name):
    """Give a platform as agents call it: linux-x86_64 and linux/amd64 are the same."""
    system, dummy, machine = str(name).lower().replace("-", "/", 1).partition("/")
    for arch, machines in programs.MACHINES.items():
        if machine in machines.split(","):
            machine = arch
    return "%s/%s" % (system, machine)


def survey(path, chunk):
    """Give sums, tree and manifest of an archive, as the agent reads them in one pass.

    None says that no agent runs on this machine. Then the sums alone have to do.
    """
    found = _run_agent(["survey", path])
    try:
        seen = {key: found[key] for key in ("sha256", "size", "chunks")}
        if found["chunk_size"] == chunk and found.get("manifest"):
            seen["tree"] = found["tree"]
            seen["manifest"] = base64.b64encode(gzip.compress(base64.b64decode(found["manifest"]), 6, mtime=0)).decode()
        return seen
    except (ValueError, LookupError, TypeError) as err:
        Display().vvv("gofleet: %s cannot be surveyed by an agent: %s" % (path, err))
        return None
