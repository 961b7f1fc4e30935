# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules, sources and packages for hosts: what a bundle has, or a directory, as the program gofleet lists it."""

from __future__ import annotations

import hashlib
import json
import os
import secrets

from ansible_collections.gofleet.golang.plugins.plugin_utils import beside, known, local
from ansible_collections.gofleet.golang.plugins.plugin_utils.errors import Refused, Unjudged

# The parts of a host that travel beside the archive, by the names of their variables.
PARTS = {"modules": "modules", "gopath": "sources", "packages": "packages"}


class FileTree:
    """A tree of files that is believed. Of it travels what a host lacks."""

    def __init__(self, question, place, directory, found):
        self.part = question["part"]
        self.question = question
        self.place = place
        self.directory = directory
        self.release = found["release"]
        self.manifest = found["manifest"]
        self.file = None  # what travels
        self.sent = None

    @property
    def size(self):
        """Of what travels."""
        return self.sent["size"]

    def announce(self, control, whole=False, manifest=False):
        """Tell the agent what travels. It has the list already."""
        control["files"][self.part]["transfer"] = dict(self.sent, whole=whole)
        control["part"] = self.part

    def index(self, name):
        """Give one small file of the tree, packed. The list names its sum."""
        with known.Cache(self.place) as cache:
            return _ask(cache, ["index " + name], self.question, self.place, self.directory, audit=True, index=name)["manifest"]

    def prepare(self, lacks):
        """Have gofleet make what travels to a host that lacks these files. Hosts that lack the same get the same."""
        home = local.cache_directory()
        if home is None:
            raise Refused("archive_missing", "there is no private place for what travels", "let ~/.cache be a directory of your own")
        os.makedirs(os.path.join(home, "differences"), mode=0o700, exist_ok=True)
        name = hashlib.sha256(json.dumps([self.release["tree"], lacks]).encode()).hexdigest()[:32]
        self.file = os.path.join(home, "differences", name)
        with local.locked(self.file + ".lock"):
            os.utime(self.file + ".lock")
            self.sent = self._made() or self._make(lacks)

    def _made(self):
        """Give what was made before, if it is still there."""
        try:
            with open(self.file + ".json", encoding="utf-8") as f:
                kept = json.load(f)
            if kept["stamp"] != known.stamp(self.file):
                return None
            os.utime(self.file + ".json")
            return kept["transfer"]
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def _make(self, lacks):
        new = self.file + "." + secrets.token_hex(8)
        try:
            found = beside.files(beside.program(), self.question, self.place, self.directory, lacks=lacks, to=new)
            if found["release"]["tree"] != self.release["tree"]:
                raise known.changed(self.place)
            os.rename(new, self.file)
        finally:
            if os.path.exists(new):
                os.unlink(new)
        with open(self.file + ".json", "w", encoding="utf-8") as f:
            json.dump({"stamp": known.stamp(self.file), "transfer": found["transfer"]}, f)
        return found["transfer"]


def find(question, directory, prefix, audit):
    """Give the FileTree that hosts are to have, or raise Refused.

    directory is what a relative path is relative to; prefix stands before the
    names of options. For an audit the signed list is enough.
    """
    place = question["from"]
    if "://" not in place:
        place = os.path.abspath(os.path.join(directory, os.path.expanduser(place)))
    gofleet = beside.program()
    if gofleet is None:
        raise Unjudged(
            "archive_missing",
            "%s%s is for the program gofleet to read, and it is not on this machine's PATH" % (prefix, question["part"]),
            "%s, or drop %s%s" % (beside.WAY, prefix, question["part"]),
        )
    part = question["part"]
    with known.Cache(place) as cache:
        # What was listed for an install serves an audit too.
        found = _ask(cache, [part, "list of " + part] if audit else [part], question, place, directory, audit=audit)
    return FileTree(question, place, directory, found)


def _key(question, place, directory):
    """Tell everything that what gofleet says of a tree depends on."""
    key = known.circumstances(beside.program(), question, directory, place)
    if question["part"] == "gopath":
        key.append(known.tree_stamp(place))
    if question["part"] == "packages":  # in a directory of archives they lie in a bundle of their own
        key.append(known.place_stamp(os.path.join(place, "packages")))
    return key


def _ask(cache, names, question, place, directory, **more):
    """Give what gofleet says, or has said before under one of the names, the last of which is for what it says now."""
    key = _key(question, place, directory)
    for name in names:
        found = cache.kept(name, key)
        if found is not None:
            return found
    found = beside.files(beside.program(), question, place, directory, **more)
    cache.keep(names[-1], key, found)
    cache.save()
    return found
