#!/usr/bin/python
# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: toolchain_info
short_description: Audit preconditions and drift of the Go toolchain
version_added: "0.1.0"
description:
  - Checks a host's preconditions and compares what is installed with what was installed and with what is asked for, as C(gofleet audit) does.
  - It changes nothing and leaves no file on the host. It needs no archives.
options:
  deep:
    description: Hash every file of the toolchain. Without it, programs are judged by size and mode.
    type: bool
    default: false
extends_documentation_fragment:
  - gofleet.golang.variables
  - gofleet.golang.agent
seealso:
  - module: gofleet.golang.toolchain
author:
  - the gofleet authors (@gofleet)
"""

EXAMPLES = r"""
- name: See how the host stands
  gofleet.golang.toolchain_info:
    from_variables: true
  become: true
  register: audit

- name: Stop where something was altered
  ansible.builtin.assert:
    that: audit.met and not audit.drift
    fail_msg: "{{ audit.msg }}"

# From the command line:
#   ansible all -i inventory.yaml -b -m gofleet.golang.toolchain_info -a from_variables=true
"""

RETURN = r"""
msg:
  description: How the host stands, in one line.
  returned: always
  type: str
  sample: "go1.26.8: nothing to do"
status:
  description: One of ok, changed (it would be), drifted and unmet.
  returned: when the agent could begin
  type: str
  sample: drifted
met:
  description: No required precondition fails.
  returned: when the agent could begin
  type: bool
  sample: true
would_change:
  description: What M(gofleet.golang.toolchain) with the same options would return as changed.
  returned: when the agent could begin
  type: bool
  sample: false
unmet:
  description: The preconditions that fail, each with its way out.
  returned: when the agent could begin
  type: list
  elements: str
  sample: []
go:
  description: The current toolchain, and the one that M(gofleet.golang.toolchain) would leave.
  returned: when the agent could begin
  type: dict
  contains:
    before: {description: The current version., type: str, returned: always, sample: 1.26.8}
    after: {description: The version that would be current., type: str, returned: always, sample: 1.26.8}
actions:
  description: What M(gofleet.golang.toolchain) would do, in order.
  returned: when the agent could begin
  type: list
  elements: str
  sample: []
drift:
  description: Paths of what is no longer as gofleet left it.
  returned: when the agent could begin
  type: list
  elements: str
  sample: [/usr/local/lib/gofleet/go1.26.8/VERSION]
checks:
  description: The preconditions and what the host has, as M(gofleet.golang.toolchain) returns them.
  returned: when the agent could begin
  type: list
  elements: dict
  sample:
    - {name: memory, status: pass, actual: 16 GB, wanted: "at least 2 GB, 8 GB recommended"}
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
  sample: needs_root
hint:
  description: The way out.
  returned: on failure, where there is one
  type: str
  sample: "become root with become: true, or set root to a directory in the user's home"
"""
