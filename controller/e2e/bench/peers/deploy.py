"""The bench's peer in pyinfra: the job that gofleet apply does, as a good pyinfra
user would write it. Data comes from the inventory's `data` and BENCH_* variables."""

import os

from pyinfra import host
from pyinfra.api import DeployError
from pyinfra.facts.hardware import Cpus, Memory
from pyinfra.facts.server import Arch, Command, KernelVersion
from pyinfra.operations import files, server

VERSION = os.environ["BENCH_VERSION"]
ARCHIVE = os.environ["BENCH_ARCHIVE"]
SHA256 = os.environ["BENCH_SHA256"]
KEY = os.environ["BENCH_KEY"]

if host.get_fact(Arch) != "x86_64":
    raise DeployError("architecture")
if int(host.get_fact(KernelVersion).split(".")[0]) < 4:
    raise DeployError("kernel")
if host.get_fact(Memory) < 1800 or host.get_fact(Cpus) < 1:
    raise DeployError("memory or CPUs")
if int(host.get_fact(Command, "df -Pk /usr/local | awk 'NR==2 {print $4}'")) < 1_000_000:
    raise DeployError("disk")

server.user(name="deploy user", user="deploy", shell="/bin/bash", ensure_home=True,
            public_keys=[KEY], _sudo=True)

installed = host.get_fact(Command, "cat /usr/local/go/VERSION 2>/dev/null | head -n 1 || true")
if installed != "go" + VERSION:
    files.put(name="archive", src=ARCHIVE, dest="/var/tmp/go.tar.gz", _sudo=True)
    server.shell(
        name="unpack and swap in",
        commands=[
            f"echo '{SHA256}  /var/tmp/go.tar.gz' | sha256sum -c --quiet -",
            "rm -rf /usr/local/.go-new && mkdir /usr/local/.go-new"
            " && tar -xzf /var/tmp/go.tar.gz -C /usr/local/.go-new --no-same-owner",
            "rm -rf /usr/local/go && mv /usr/local/.go-new/go /usr/local/go"
            " && rmdir /usr/local/.go-new && rm -f /var/tmp/go.tar.gz",
        ],
        _sudo=True,
    )
files.put(name="profile", src=os.environ["BENCH_PROFILE"], dest="/etc/profile.d/go.sh", mode="644", _sudo=True)
server.shell(name="verify", commands=["/usr/local/go/bin/go version"])
