# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of archives and bundles on the controller, as long as nobody touches them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
import time

from ansible_collections.gofleet.golang.plugins.plugin_utils import local
from ansible_collections.gofleet.golang.plugins.plugin_utils.errors import Refused

CHUNK = 4 << 20
FORMAT = 3  # of what is kept


def stamp(path):
    """Tell a file from what it was. Whoever writes to it changes ctime, which no program can set back."""
    try:
        st = os.stat(path)
    except OSError:
        return None
    return [path, st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino, st.st_dev]


def _settled(seen):
    """Tell whether a file may be known by its stamp. One that was changed just now could change again without showing it."""
    return seen is not None and time.time_ns() - seen[3] > 2 * 10**9


def place_stamp(place):
    """Tell an archive's file, or a bundle in whatever form, from what it was."""
    if not os.path.isdir(place):
        name = re.sub(r"\.part(s|[0-9]+)$", "", place)
        parts = sorted(n for n in _names(os.path.dirname(place)) if n.startswith(os.path.basename(name) + ".part"))
        return [stamp(place)] + [stamp(os.path.join(os.path.dirname(place), part)) for part in parts]
    archives = os.path.join(place, "archives")
    files = [os.path.join(place, name) for name in _names(place)] + [os.path.join(archives, name) for name in _names(archives)]
    return [stamp(path) for path in files]


def tree_stamp(directory):
    """Tell a directory and everything below it from what it was."""
    seen = hashlib.sha256()
    for where, directories, files in os.walk(directory):
        directories.sort()
        for name in sorted(files):
            seen.update(json.dumps(stamp(os.path.join(where, name))).encode())
    return seen.hexdigest()


def _names(directory):
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def circumstances(gofleet, question, directory, place):
    """Tell everything that what gofleet says of what it is asked depends on."""
    keys = [os.path.join(directory, key) for key in question.get("trusted_keys", [])]
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    own = os.path.join(config, "gofleet")
    keys += [own] + [os.path.join(own, name) for name in (sorted(os.listdir(own)) if os.path.isdir(own) else [])]
    beside_it = [place + suffix for suffix in (".asc", ".evidence")]
    return [question, directory, place_stamp(place)] + [stamp(path) for path in [gofleet] + beside_it + keys]


@contextlib.contextmanager
def readable(path):
    """Refuse an archive that the system does not let us read."""
    try:
        yield
    except OSError as err:
        raise Refused("archive_missing", "read %s: %s" % (path, err.strerror), "let the user that runs ansible-playbook read it") from err


def changed(path):
    return Refused("archive_corrupt", "refuse %s: it was changed while it was read" % path, "run the same play again")


def _sums(path):
    """Give the sums of a file."""
    whole, chunks, size = hashlib.sha256(), [], 0
    with readable(path), open(path, "rb") as f:
        while block := f.read(CHUNK):
            whole.update(block)
            chunks.append(hashlib.sha256(block).hexdigest())
            size += len(block)
    return {"sha256": whole.hexdigest(), "size": size, "chunks": chunks}


class Cache:
    """What is known of one file. The forks of a play wait for each other here, so that one of them reads it.

    The host hashes what arrives anyway: a file that lies about its times gains nothing.
    """

    def __init__(self, path):
        self.path = path
        self.entry = {"format": FORMAT}
        self.changed = False
        self.stack = contextlib.ExitStack()
        directory = local.cache_directory()
        name = hashlib.sha256(os.path.realpath(path).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self.file = os.path.join(directory, name) if directory else None

    def __enter__(self):
        if self.file:
            self.stack.enter_context(local.locked(self.file + ".lock"))
            try:
                with open(self.file, encoding="utf-8") as f:
                    entry = json.load(f)
                self.entry = entry if entry["format"] == FORMAT else self.entry
                for used in (self.file, self.file + ".lock"):
                    os.utime(used)
            except (OSError, ValueError, LookupError, TypeError):
                pass
        return self

    def __exit__(self, *exc):
        self.stack.close()

    def seen(self):
        """Give sha256, size and chunks of the file; read it if it is not known."""
        before = stamp(self.path)
        seen = self.entry.get("seen")
        if seen and seen["stamp"] == before:
            return seen
        seen = local.survey(self.path, CHUNK) or _sums(self.path)
        if before is None or stamp(self.path) != before:
            raise changed(self.path)
        seen["stamp"] = before
        self.entry = {"format": FORMAT, "seen": seen}
        self.changed = _settled(before)
        return seen

    def kept(self, what, key):
        """Give what gofleet said, if everything that it looked at is unchanged."""
        kept = self.entry.get(what)
        return kept["said"] if kept and kept["key"] == key else None

    def keep(self, what, key, said):
        """Keep what gofleet said, unless something lies there that was changed just now."""
        self.entry[what] = {"key": key, "said": said}
        self.changed = self.changed or all(_settled(s) for s in place_stamp(self.path) if s)

    def save(self):
        """Write what is new."""
        if not self.file or not self.changed:
            return
        local.sweep(os.path.dirname(self.file))
        fd, new = tempfile.mkstemp(dir=os.path.dirname(self.file), prefix=".new-")
        with os.fdopen(fd, "w", encoding="utf-8") as f:
            json.dump(self.entry, f)
        os.rename(new, self.file)
