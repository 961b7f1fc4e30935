# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What both modules share beside the variables."""

    DOCUMENTATION = r"""
options:
  from_variables:
    description:
      - Take the options from the host's C(gofleet_) variables, which C(gofleet apply) reads too. Options given beside it come before them.
      - An unknown C(gofleet_) variable is then an error. Results that tasks have registered are passed over.
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check_mode and tell what would change.
    support: full
  diff_mode:
    description: Will return what changes inside files. What may be a secret is masked.
    support: full
  async:
    description: Supports being used with the C(async) keyword.
    support: none
  platform:
    description: The hosts.
    support: full
    platforms: linux
notes:
  - With I(become) root, or as an ordinary user with O(root) in that user's home.
  - Works with the connections C(ssh), C(local) and C(paramiko_ssh) and with others that run a POSIX shell. It does not work with Mitogen.
  - The agent is kept on the host as C(/usr/local/lib/gofleet/agent/<sha256>), or below C(~/.cache/gofleet) of an ordinary user, by the module that installs.
  - An archive is believed for a pin in O(sha256) or for the table of official sums in the collection.
    Other evidence, bundles, O(modules), O(gopath) and O(packages) are read by the program C(gofleet),
    which has to be on the PATH beside ansible-playbook, or named by the environment variable E(GOFLEET).
  - O(slo), O(site_seed) and O(uniform) are checked, so that an inventory for gofleet can be used, and have no effect.
  - Relative paths in O(archives) are relative to the directory of the host's inventory.
"""
