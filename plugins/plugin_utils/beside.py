# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program gofleet beside ansible-playbook.

It judges what neither a pin nor the table of official sums names, reads
bundles, and makes the form of an archive that hosts unpack the fastest.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess

from ansible_collections.gofleet.golang.plugins.plugin_utils import programs
from ansible_collections.gofleet.golang.plugins.plugin_utils.errors import Missing, Refused, Unjudged

WAY = "put gofleet beside ansible-playbook (or its path into the environment variable GOFLEET)"


def program():
    """Give the path of the program on this machine, or None."""
    return (
        os.environ.get("GOFLEET")
        or shutil.which("gofleet")
        or shutil.which(os.path.join(programs.CHECKOUT, "bin", "gofleet"))
    )


def verify(gofleet, path):
    """Give the verdict about an archive, with the sha256 that it is about."""
    answer = _ask(gofleet, ["verify", "-o", "json", path], None, path)
    try:
        found = answer["files"][0]
        return dict(found["verdict"], sha256=found["sha256"])
    except (LookupError, TypeError, ValueError) as err:
        raise _unjudged(gofleet, path, "its answer is not understood") from err


def offer(gofleet, question, location, directory, hosts=0, transfer=False):
    """Give the archive that gofleet apply would take from a directory or bundle: a release and,
    with transfer, what would travel to so many hosts and the file that has it.
    """
    asked = {key: question[key] for key in ("version", "platform", "sha256") if key in question}
    asked.update(location=location, directory=directory, transfer=transfer, hosts=hosts, trusted_keys=question.get("trusted_keys", []))
    answer = _ask(gofleet, ["offer"], asked, location)
    problem, found = answer.get("problem"), answer.get("offer")
    try:
        if problem and problem.get("missing"):
            raise Missing("archive_missing", problem["message"], problem.get("hint", ""))
        if problem:
            raise Refused("archive_corrupt", problem["message"], problem.get("hint", ""))
        found["release"]["sha256"], found["release"]["tree"]["sha256"]
        if transfer:
            found["transfer"]["manifest"], found["file"]
        return found
    except (LookupError, TypeError) as err:
        raise _unjudged(gofleet, location, "its answer is not understood") from err


def files(gofleet, question, location, directory, audit=False, index="", lacks=(), to=""):
    """Give a bundle's modules or packages or a directory's sources as gofleet apply offers them: a release and the
    list of what is in it, or with index that one file, or with lacks, what would travel to a host that lacks
    those, in the file to.
    """
    asked = {key: question[key] for key in ("part", "trusted_keys", "env") if key in question}
    asked.update(location=location, directory=directory, audit=audit, index=index, lacks=list(lacks), to=to)
    answer = _ask(gofleet, ["offer"], asked, location)
    problem, found = answer.get("problem"), answer.get("offer")
    try:
        if problem:
            kind = Missing if problem.get("missing") else Refused
            raise kind("archive_missing" if problem.get("missing") else "archive_corrupt", problem["message"], problem.get("hint", ""))
        found["release"]["tree"]["sha256"], found["transfer" if lacks else "manifest"]
        return found
    except (LookupError, TypeError) as err:
        raise _unjudged(gofleet, location, "its answer is not understood") from err


def _ask(gofleet, arguments, question, about):
    data = None if question is None else json.dumps(question).encode()
    try:
        done = subprocess.run([gofleet] + arguments, input=data or b"", capture_output=True, check=False, timeout=600)
        answer = json.loads(done.stdout)
        if isinstance(answer, dict):
            return answer
        raise ValueError("its answer is not understood")
    except (OSError, subprocess.SubprocessError) as err:
        raise _unjudged(gofleet, about, err) from err
    except ValueError as err:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise _unjudged(gofleet, about, said[0] if said else err) from err


def _unjudged(gofleet, about, why):
    return Unjudged(
        "archive_missing",
        "ask %s about %s: %s" % (gofleet, about, why),
        "gofleet beside ansible-playbook must not be older than the collection; compare with: %s --version" % gofleet,
    )
