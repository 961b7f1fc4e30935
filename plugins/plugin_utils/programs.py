# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agents of every platform and the table of official sums, as files."""

from __future__ import annotations

import gzip
import os
import re

# What uname -m says on the hosts that an agent serves.
MACHINES = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "386": "i386,i486,i586,i686",
    "armv6l": "armv6l,armv7l,armv8l",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loong64": "loongarch64",
}

HERE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "agents")
CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


class Missing(Exception):
    """The collection was built without something that it needs."""


def _find(*places):
    for place in places:
        if os.path.exists(place):
            return place
    raise Missing(
        "%s is not there: this is a checkout in which `make agents` has not been run, "
        "or a collection that was not built by `make collection`" % places[-1]
    )


class Agent:
    """One platform's agent: a compressed program, named by the sha256 of the program."""

    def __init__(self, directory, line):
        self.platform, self.sha256, size = line.split()
        self.size = int(size)
        self.path = os.path.join(directory, "gofleet-agent-%s.gz" % self.platform.replace("/", "-"))
        self.machines = MACHINES.get(self.platform.partition("/")[2], "")

    def compressed(self):
        """Give the program as it lies here."""
        with open(self.path, "rb") as f:
            return f.read()

    def program(self):
        """Give the program itself."""
        return gzip.decompress(self.compressed())


def load():
    """Give all agents. A checkout's own come before those of a built collection."""
    index = _find(
        os.path.join(CHECKOUT, "controller", "internal", "agents", "bin", "index"),
        os.path.join(HERE, "index"),
    )
    with open(index, encoding="ascii") as f:
        agents = [Agent(os.path.dirname(index), line) for line in f if line.strip()]
    return [a for a in agents if a.machines]


def listed(agents):
    """Give the agents as the shell line takes them."""
    return " ".join(sorted("%s:%s" % (a.sha256, a.machines) for a in agents))


def for_machine(agents, machine):
    """Give the agent for what uname -m says, or None."""
    for agent in agents:
        if machine in agent.machines.split(","):
            return agent
    return None


def official_sum(name):
    """Give the official sha256 of an archive, "" for one without, None for one not in the table."""
    table = _find(
        os.path.join(CHECKOUT, "controller", "internal", "release", "go-releases.sha256"),
        os.path.join(HERE, "go-releases.sha256"),
    )
    with open(table, encoding="ascii") as f:
        found = re.search(r"^([0-9a-f]*) [ *]%s$" % re.escape(name), f.read(), re.MULTILINE)
    return found.group(1) if found else None
