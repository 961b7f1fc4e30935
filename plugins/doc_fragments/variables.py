# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Written by controller/e2e/ansible from agent/spec, where the rules are.

from __future__ import annotations


class ModuleDocFragment:
    """The options that are gofleet's variables without their prefix."""

    DOCUMENTATION = r"""
options:
  go_version:
    description:
      - The Go release to install, in quotes.
      - Required by M(gofleet.golang.toolchain), unless it removes or rolls back.
    type: str
  archives:
    description:
      - Directory, http(s) URL on the inner network, or bundle.
    type: path
    default: ../archives
  trusted_keys:
    description:
      - "Whose bundles are taken, beside one's own: minisign public keys, files with one, or any."
    type: list
    elements: str
    default: []
  sha256:
    description:
      - "Sha256 of the archive by platform: pins that decide alone."
    type: dict
    default: {}
  root:
    description:
      - Where toolchains lie on the host.
    type: path
    default: /usr/local/lib/gofleet
  link:
    description:
      - The link to the current toolchain.
    type: path
    default: /usr/local/go
  keep:
    description:
      - Older toolchains kept for rollback, 0 to 100.
    type: int
    default: 2
  env:
    description:
      - Variables of the go command, written to go.env.
    type: dict
    default: {"GOTOOLCHAIN":"local"}
  environment:
    description:
      - Other variables, for sessions and services.
    type: dict
    default: {}
  environment_files:
    description:
      - "Where those are written: profile, environment, systemd."
    type: list
    elements: str
    default: ["profile"]
  verify:
    description:
      - How a toolchain is proved before it becomes current.
    type: dict
    suboptions:
      level:
        description:
          - Each level includes those before it.
        type: str
        choices: ["quick","build","cgo"]
        default: quick
      commands:
        description:
          - Further commands that must succeed.
        type: list
        elements: dict
        default: []
        suboptions:
          command:
            description:
              - Program and arguments; no shell reads them.
            type: list
            elements: str
            required: true
          user:
            description:
              - Who runs it; without one the deploy user, where there is one.
            type: str
          chdir:
            description:
              - Where it runs.
            type: path
          timeout:
            description:
              - Time for one try.
            type: str
            default: "1m"
          retries:
            description:
              - Further tries, 0 to 100.
            type: int
            default: 0
          rc:
            description:
              - The exit code that counts as good.
            type: int
            default: 0
  user:
    description:
      - The deploy user; null makes none.
    type: dict
    suboptions:
      name:
        description:
          - The account, which is not root.
        type: str
        required: true
      uid:
        description:
          - Its number; not set, whichever the host gives.
        type: int
      gid:
        description:
          - Number of its primary group, which is made with the account if it bears its name.
        type: int
      group:
        description:
          - Its primary group; not set, whichever the host gives.
        type: str
      home:
        description:
          - Its home; not set, where the host has homes.
        type: path
      shell:
        description:
          - Login shell of a new account.
        type: path
        default: /bin/bash
      groups:
        description:
          - Further groups.
        type: list
        elements: str
        default: []
      authorized_keys:
        description:
          - Public keys, each one line.
        type: list
        elements: str
        default: []
      exclusive:
        description:
          - The file of keys has these and no others.
        type: bool
        default: false
      sudo:
        description:
          - None, or the commands allowed without a password.
        type: raw
        default: none
  users:
    description:
      - Accounts beside the deploy user.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - The account, which is not root.
        type: str
        required: true
      uid:
        description:
          - Its number; not set, whichever the host gives.
        type: int
      gid:
        description:
          - Number of its primary group, which is made with the account if it bears its name.
        type: int
      group:
        description:
          - Its primary group; not set, whichever the host gives.
        type: str
      home:
        description:
          - Its home; not set, where the host has homes.
        type: path
      shell:
        description:
          - Login shell of a new account.
        type: path
        default: /bin/bash
      groups:
        description:
          - Further groups.
        type: list
        elements: str
        default: []
      authorized_keys:
        description:
          - Public keys, each one line.
        type: list
        elements: str
        default: []
      exclusive:
        description:
          - The file of keys has these and no others.
        type: bool
        default: false
      sudo:
        description:
          - None, or the commands allowed without a password.
        type: raw
        default: none
  directories:
    description:
      - Directories with owner and mode.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - The directory, absolute.
        type: path
        required: true
      owner:
        description:
          - The account that it belongs to, which may be one of users.
        type: str
        default: root
      group:
        description:
          - "Its group; not set, the owner's primary group."
        type: str
      mode:
        description:
          - Permissions in octal, in quotes.
        type: str
        default: "0755"
  preconditions:
    description:
      - What a host must be; null switches one off.
    type: dict
    suboptions:
      os:
        description:
          - Operating systems.
        type: list
        elements: str
        default: ["linux"]
      arch:
        description:
          - Machines, as uname -m or Go archives name them.
        type: list
        elements: str
        default: ["x86_64","aarch64"]
      kernel:
        description:
          - Version of the kernel.
        type: dict
        suboptions:
          min:
            description:
              - Less fails the host.
            type: str
            default: "4.14"
          recommended:
            description:
              - Less warns.
            type: str
      glibc:
        description:
          - Version of the GNU C library.
        type: dict
        suboptions:
          min:
            description:
              - Less fails the host.
            type: str
            default: "2.28"
          recommended:
            description:
              - Less warns.
            type: str
      cpus:
        description:
          - CPUs that a process may use.
        type: dict
        suboptions:
          min:
            description:
              - Less fails the host.
            type: int
            default: 1
          recommended:
            description:
              - Less warns.
            type: int
            default: 4
      memory:
        description:
          - "Memory; 90 % of the figure is enough."
        type: dict
        suboptions:
          min:
            description:
              - Less fails the host.
            type: str
            default: "2GB"
          recommended:
            description:
              - Less warns.
            type: str
            default: "8GB"
      disk:
        description:
          - Free space at root, plus what the wanted toolchain already takes.
        type: dict
        suboptions:
          min:
            description:
              - Less fails the host.
            type: str
            default: "1GB"
          recommended:
            description:
              - Less warns.
            type: str
      inodes:
        description:
          - Free inodes at root, plus those of the wanted toolchain.
        type: dict
        suboptions:
          min:
            description:
              - Less fails the host.
            type: int
            default: 20000
          recommended:
            description:
              - Less warns.
            type: int
      noexec:
        description:
          - What a root mounted noexec means.
        type: str
        choices: ["fail","warn"]
        default: fail
      clock:
        description:
          - Difference between host and controller; more warns.
        type: dict
        suboptions:
          max_skew:
            description:
              - The most that is fine.
            type: str
            default: "5m"
      distributions:
        description:
          - "Conditions such as \"ubuntu>=20.04\"; one that holds is enough."
        type: dict
        suboptions:
          required:
            description:
              - None holding fails the host.
            type: list
            elements: str
            default: []
          recommended:
            description:
              - None holding warns.
            type: list
            elements: str
            default: []
      commands:
        description:
          - "Programs on the PATH: names, or dictionaries with a lowest version."
        type: list
        elements: raw
        default: []
      module_proxy:
        description:
          - "Fail, warn, or a dictionary: whether the servers of GOPROXY answer the deploy user."
        type: raw
      cgo:
        description:
          - "The C toolchain, proved by programs that are built; {} takes these defaults."
        type: dict
        suboptions:
          min:
            description:
              - The lowest version of gcc and g++.
            type: str
          cxx:
            description:
              - G++ and the C++ library too.
            type: bool
            default: true
          pkg_config:
            description:
              - Pkg-config too.
            type: bool
            default: true
  slo:
    description:
      - "An error budget over time: where it is used up, gofleet's runs do not start."
    type: dict
    suboptions:
      target:
        description:
          - The part of results that must be good.
        type: str
        required: true
      window:
        description:
          - How far back, 1h to 90d.
        type: str
        default: "30d"
  packages:
    description:
      - "Packages of the host's distribution, out of the bundle: names, or dictionaries."
    type: list
    elements: raw
    default: []
  uniform:
    description:
      - "Facts in which an audit names hosts unlike their group: distribution, kernel, glibc, zone."
    type: list
    elements: str
    default: []
  ca_certificates:
    description:
      - "Certificates of inner authorities for the system's store: PEM texts, or files with some."
    type: list
    elements: str
    default: []
  netrc:
    description:
      - "Credentials in the deploy user's ~/.netrc, for an inner GOPROXY or git server."
    type: list
    elements: dict
    default: []
    suboptions:
      machine:
        description:
          - Host of the URL, with the port if the URL has one.
        type: str
        required: true
      login:
        description:
          - User name.
        type: str
        required: true
      password:
        description:
          - Password or token, from a vault.
        type: str
        required: true
  modules:
    description:
      - The bundle whose module cache hosts get as their GOPROXY, or a dictionary.
    type: raw
  gopath:
    description:
      - "Sources of projects from before modules, for the deploy user's GOPATH."
    type: dict
    suboptions:
      sources:
        description:
          - Directory whose content comes to src below the GOPATH.
        type: path
        required: true
      path:
        description:
          - The GOPATH, belonging to the deploy user; not set, go in its home.
        type: path
  time:
    description:
      - "The host's clock: time zone and NTP servers."
    type: dict
    suboptions:
      zone:
        description:
          - Name of the time zone, as Asia/Shanghai; not set, left alone.
        type: str
      servers:
        description:
          - NTP servers for the daemon that the host has.
        type: list
        elements: str
        default: []
      max_offset:
        description:
          - A clock that is further off warns.
        type: str
  services:
    description:
      - Services that start with the host, and those that do not; no others are touched.
    type: dict
    suboptions:
      enabled:
        description:
          - Started, now and with the host.
        type: list
        elements: str
        default: []
      disabled:
        description:
          - Stopped and no longer started with the host, with the sockets, paths and timers that start them.
        type: list
        elements: str
        default: []
      masked:
        description:
          - The same, and not to be started by anything.
        type: list
        elements: str
        default: []
  firewall:
    description:
      - What the firewall lets in, through ufw or firewalld; ssh stays open, and every change is proved by a fresh login.
    type: dict
    suboptions:
      allow:
        description:
          - "Ports that are open: 443/tcp, 8000-8100/udp, or dictionaries."
        type: list
        elements: raw
        default: []
      policy:
        description:
          - Keep leaves what no rule allows as it is on the host; deny shuts it out.
        type: str
        choices: ["keep","deny"]
        default: keep
      enabled:
        description:
          - True makes a firewall active that is installed and is not.
        type: bool
  cache:
    description:
      - Caches of the go command that the members of a group share.
    type: dict
    suboptions:
      modcache:
        description:
          - GOMODCACHE; not set, each user has its own.
        type: path
      build:
        description:
          - GOCACHE; not set, each user has its own.
        type: path
      group:
        description:
          - Whose members share them.
        type: str
        required: true
      mode:
        description:
          - Of the directories, in quotes.
        type: str
        default: "2775"
  site_seed:
    description:
      - "True on the host that hands archives to its site, or that host's name on the others."
    type: raw
"""
