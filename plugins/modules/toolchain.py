#!/usr/bin/python
# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: toolchain
short_description: Install, roll back or remove the Go toolchain
version_added: "0.1.0"
description:
  - Brings a host's Go toolchain, deploy user and environment to what is asked for, as C(gofleet apply) does.
  - Preconditions are checked first. A host that fails a required one is changed in nothing.
  - The archive is taken from the controller, believed only with evidence, and travels only to hosts that need it. No host downloads anything.
  - A new toolchain is verified on the host before the link is switched to it in one step. What a crash leaves is swept by the next run.
  - The work is done by gofleet's agent, a static program in the collection. The host needs no Python.
options:
  state:
    description:
      - V(present) installs O(go_version) and makes it current.
      - V(rolled_back) goes back to the toolchain that was current before, or to O(version), which must still be on the host.
      - V(absent) removes O(version), which must not be the current toolchain, or without a version everything that gofleet installed.
    type: str
    choices: [present, rolled_back, absent]
    default: present
  version:
    description:
      - The version to go back to or to remove.
      - Where it is not given, O(go_version) is that version, unless O(from_variables) is set.
    type: str
extends_documentation_fragment:
  - gofleet.golang.variables
  - gofleet.golang.agent
seealso:
  - module: gofleet.golang.toolchain_info
author:
  - the gofleet authors (@gofleet)
"""

EXAMPLES = r"""
- name: Install Go
  gofleet.golang.toolchain:
    go_version: "1.26.8"
    archives: /srv/go-archives
  become: true

- name: Install Go with a deploy user, believing an archive for its sha256
  gofleet.golang.toolchain:
    go_version: "1.26.8"
    archives: ../archives
    sha256:
      linux-amd64: d0f743b33e8d8945e6b1f432edd15785c70507121d6e2a723b21285eddf8b57b
    env:
      GOPROXY: https://proxy.example.net
    user:
      name: deploy
      authorized_keys:
        - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f deploy
    preconditions:
      memory: {min: 4GB}
      commands: [gcc, git]
  become: true
  notify: Rebuild

- name: Install what the inventory's gofleet_ variables say
  gofleet.golang.toolchain:
    from_variables: true
  become: true

- name: Go back to the toolchain before
  gofleet.golang.toolchain:
    state: rolled_back
  become: true

- name: Remove an old toolchain
  gofleet.golang.toolchain:
    state: absent
    version: "1.26.6"
  become: true

- name: Install for an ordinary user, without become
  gofleet.golang.toolchain:
    go_version: "1.26.8"
    archives: /srv/go-archives
    root: /home/ci/gofleet
"""

RETURN = r"""
msg:
  description: What was done, or in check mode would be, or why not, in one line.
  returned: always
  type: str
  sample: "go1.26.8 (was go1.26.7): install go1.26.8; switch /usr/local/go to go1.26.8"
status:
  description: One of ok, changed (in check mode it would be), unmet and failed.
  returned: when the agent could begin
  type: str
  sample: changed
go:
  description: The current toolchain before and after, without C(go); empty where there is none.
  returned: when the agent could begin
  type: dict
  contains:
    before: {description: The version before., type: str, returned: always, sample: 1.26.7}
    after: {description: The version after., type: str, returned: always, sample: 1.26.8}
actions:
  description: What was changed, or in check mode would be, in order.
  returned: when the agent could begin
  type: list
  elements: str
  sample: ["install go1.26.8", "switch /usr/local/go to go1.26.8"]
drift:
  description: Paths of what was no longer as gofleet had left it.
  returned: when the agent could begin
  type: list
  elements: str
  sample: [/etc/profile.d/gofleet.sh]
checks:
  description: The preconditions and what the host has.
  returned: when the agent could begin
  type: list
  elements: dict
  contains:
    name: {description: The precondition., type: str, returned: always, sample: memory}
    status: {description: One of pass and warn and fail., type: str, returned: always, sample: pass}
    actual: {description: What the host has., type: str, returned: always, sample: 16 GB}
    wanted: {description: What is asked for., type: str, returned: always, sample: "at least 2 GB, 8 GB recommended"}
    hint: {description: The way out., type: str, returned: when the check does not pass, sample: "give the host more memory, or lower preconditions.memory.min"}
unmet:
  description: The preconditions that fail, each with its way out.
  returned: when there are any
  type: list
  elements: str
  sample: ["memory is 512 MB, wanted at least 2 GB; give the host more memory, or lower preconditions.memory.min"]
errors:
  description: What is wrong with the options or variables, each with its way out.
  returned: when something is
  type: list
  elements: str
  sample: ['keep: is 500; it must be from 0 to 100']
kind:
  description: The kind of error, one of the list in C(docs/errors.md).
  returned: on failure; options and keywords that are wrong are of no kind
  type: str
  sample: precondition_unmet
hint:
  description: The way out.
  returned: on failure, where there is one
  type: str
  sample: run the same play again
"""
