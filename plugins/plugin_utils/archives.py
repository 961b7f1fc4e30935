# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find Go archives on the controller and judge them.

As in gofleet, the first evidence that names a file decides: the pin, the table
of official sums, and then whatever the program gofleet finds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from urllib.error import HTTPError

from ansible.module_utils.urls import open_url

from ansible_collections.gofleet.golang.plugins.plugin_utils import local, programs

CHUNK = 4 << 20
FORMAT = 2  # of what is kept about an archive


class Refused(Exception):
    """An archive that is missing or not believed. It has a kind and a way out."""

    def __init__(self, kind, message, hint=""):
        super().__init__(message)
        self.kind = kind
        self.hint = hint


class Missing(Refused):
    """There is no archive. Only a host that needs one has to know."""


class Unjudged(Refused):
    """Whether an archive can be believed cannot be told here."""


class Archive:
    """A file that is believed."""

    def __init__(self, path, seen, evidence):
        self.path = path
        self.stamp = seen["stamp"]
        self.name = os.path.basename(path)
        self.sha256 = seen["sha256"]
        self.size = seen["size"]
        self.chunks = seen["chunks"]
        self.tree = seen.get("tree")
        self.manifest = seen.get("manifest")
        self.evidence = evidence

    def unchanged(self):
        """Tell whether the file is the one that was judged."""
        return _stamp(self.path) == self.stamp

    def release(self, question):
        """Give what the agent is told of the archive. What is in it, its sha256 proves."""
        release = {
            "version": question["version"],
            "platform": question["platform"],
            "name": self.name,
            "sha256": self.sha256,
            "evidence": self.evidence,
        }
        if self.manifest:
            release["tree"] = self.tree
        return release

    def transfer(self, whole=False, manifest=False):
        """Give what travels: the file as it is.

        whole says that all of it has been sent. manifest adds the list of what
        is in it, which spares the host hashing every file, and is worth sending
        only with the last of the bytes.
        """
        transfer = {
            "encoding": "gzip",
            "sha256": self.sha256,
            "size": self.size,
            "chunk_size": CHUNK,
            "chunks": self.chunks,
            "whole": whole,
        }
        if manifest and self.manifest:
            transfer["manifest"] = self.manifest
        return transfer


def is_remote(question):
    """Tell whether the archive comes from a server."""
    return question["archives"].startswith(("http://", "https://"))


def find(question, directory, option):
    """Give the Archive that the agent asks for, or raise Refused.

    directory is what a relative path is relative to; option is the name of the
    option or variable that says where archives are.
    """
    location = question["archives"]
    if not is_remote(question):
        return _believe(_look(os.path.join(directory, os.path.expanduser(location)), question, option), question)
    path, fresh = _download(location, question)
    try:
        return _believe(path, question)
    except Refused:
        _forget(path)
        if fresh:
            raise
    # What was fetched before may be what the server no longer has.
    path, fresh = _download(location, question)
    try:
        return _believe(path, question)
    except Refused:
        _forget(path)
        raise


def _believe(path, question):
    with _Cache(path) as cache:
        try:
            seen = cache.seen()
            evidence = _judge(path, seen, question, cache)
        finally:
            cache.save()
    return Archive(path, seen, evidence)


def _forget(path):
    for suffix in ("", ".asc", ".evidence"):
        with contextlib.suppress(OSError):
            os.unlink(path + suffix)


def _look(directory, question, option):
    directory = os.path.abspath(directory)
    _refuse_bundle(directory, option)
    if not os.path.isdir(directory):
        raise Missing(
            "archive_missing",
            "%s is not a directory" % directory,
            "%s names the directory or URL that has the Go archives; a relative path is relative to the inventory" % option,
        )
    for name in question["names"]:
        path = os.path.join(directory, name)
        if os.path.exists(path):
            return path
    raise _missing(question, directory)


def _refuse_bundle(location, option):
    """Refuse what gofleet takes as a bundle: a directory with a manifest, a file, one of its parts or the name that they share."""
    if os.path.isfile(os.path.join(location, "manifest")):
        way = "name the directory of archives in it: %s" % os.path.join(location, "archives")
    elif os.path.exists(location + ".parts") or os.path.isfile(location) and not location.endswith(".tar.gz"):
        whole = re.sub(r"\.part[0-9]+$", "", location)
        take = "tar --zstd -xf %s archives" % whole if os.path.isfile(whole) else "cat %s.part[0-9]* | tar --zstd -x archives" % whole
        way = "take the archives out of it (%s) and name their directory" % take
    else:
        return
    raise Refused(
        "archive_missing",
        "%s is a bundle, and the collection reads none: %s must be a directory of archives or an http(s) URL" % (location, option),
        "gofleet apply reads it as it is; for a playbook, have gofleet bundle verify check who made it, then " + way,
    )


def _missing(question, location):
    return Missing(
        "archive_missing",
        "no archive of go%s for %s in %s: looked for %s"
        % (question["version"], question["platform"], location, " and ".join(question["names"])),
        "on a machine that reaches the internet: gofleet fetch %s --platform %s" % (question["version"], question["platform"]),
    )


def _download(location, question):
    """Fetch into the cache what is not there; give the path, and whether it was fetched now.

    Nothing in the cache is believed for being there.
    """
    last = None
    for name in question["names"]:
        url = location.rstrip("/") + "/" + name
        home = local.cache_directory()
        if home is None:
            raise Refused("archive_missing", "there is no private place to download to", "let ~/.cache be a directory of your own")
        directory = os.path.join(home, "downloads", hashlib.sha256(url.encode()).hexdigest()[:32])
        os.makedirs(directory, mode=0o700, exist_ok=True)
        path = os.path.join(directory, name)
        with local.locked(path + ".lock"):
            if os.path.exists(path):
                os.utime(directory)
                return path, False
            try:
                for suffix in (".asc", ".evidence"):
                    with contextlib.suppress(HTTPError):
                        _get(url + suffix, path + suffix)
                _get(url, path)
                return path, True
            except HTTPError as err:
                if err.code != 404:
                    raise Missing("archive_missing", "fetch %s: %s" % (url, err)) from err
                last = err
            except Exception as err:
                raise Missing("archive_missing", "fetch %s: %s" % (url, err)) from err
    raise _missing(question, location) from last


def _get(url, path):
    with open_url(url, timeout=30) as response:
        fd, new = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".new-")
        try:
            with os.fdopen(fd, "wb") as f:
                shutil.copyfileobj(response, f, 1 << 20)
            os.rename(new, path)
        except BaseException:
            os.unlink(new)
            raise


def _judge(path, seen, question, cache):
    """Give why the file is believed, in one line, or raise Refused."""
    name, sha256 = os.path.basename(path), seen["sha256"]
    key = question["platform"].replace("/", "-")
    line = 'gofleet_sha256: {%s: "%s"}' % (key, sha256)
    pin = question.get("sha256")
    if pin is not None:
        if pin != sha256:
            raise Refused(
                "archive_corrupt",
                'refuse %s: gofleet_sha256 pins %s to "%s", but the file has sha256 %s' % (path, key, pin, sha256),
                "correct the pin if it is of another version or file, else get the archive again; "
                "this file's pin would be %s" % line,
            )
        return "pin: pinned by gofleet_sha256 for " + key
    official = programs.official_sum(name)
    if official is not None:
        if official != sha256:
            raise Refused(
                "archive_corrupt",
                "refuse %s: the official %s has sha256 %s, but the file has sha256 %s" % (path, name, official or "none", sha256),
                "the file is damaged or is not what its name says: fetch it again, with gofleet fetch %s --platform %s"
                % (question["version"], question["platform"]),
            )
        return "table: official sha256 of %s, known to gofleet" % name
    return _ask_gofleet(path, seen, line, cache)


def gofleet_program():
    """Give the path of the program gofleet on this machine, or None."""
    return (
        os.environ.get("GOFLEET")
        or shutil.which("gofleet")
        or shutil.which(os.path.join(programs.CHECKOUT, "bin", "gofleet"))
    )


def _ask_gofleet(path, seen, line, cache):
    program = gofleet_program()
    if program is None:
        raise Unjudged(
            "archive_missing",
            "refuse %s: neither a pin nor the table of official sums names it, and its other evidence only the program gofleet can judge, "
            "which is not on this machine's PATH" % path,
            "put gofleet beside ansible-playbook (or its path into the environment variable GOFLEET), or, if you know that the archive is good, pin it: "
            + line,
        )
    key = [_stamp(program)] + [_stamp(path + suffix) for suffix in (".asc", ".evidence")]
    verdict = cache.verdict(key)
    if verdict is None:
        try:
            done = subprocess.run(
                [program, "verify", "-o", "json", path], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=600
            )
            found = json.loads(done.stdout)["files"][0]
            verdict = dict(found["verdict"], sha256=found["sha256"])
        except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError) as err:
            raise Unjudged("archive_missing", "ask %s about %s: %s" % (program, path, err), "run: %s verify %s" % (program, path)) from err
        cache.keep_verdict(key, verdict)
    if not verdict.get("accepted"):
        raise Refused("archive_corrupt", "refuse %s: %s" % (path, verdict.get("reason")), verdict.get("hint", ""))
    if verdict["sha256"] != seen["sha256"]:
        raise Refused("archive_corrupt", "refuse %s: it was changed while it was read" % path, "run the same play again")
    return "%s: %s" % (verdict.get("by"), verdict.get("reason"))


def _stamp(path):
    """Tell a file from what it was. Whoever writes to it changes ctime, which no program can set back."""
    try:
        st = os.stat(path)
    except OSError:
        return None
    return [path, st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino, st.st_dev]


def _sums(path):
    """Give the sums of a file."""
    whole, chunks, size = hashlib.sha256(), [], 0
    try:
        with open(path, "rb") as f:
            while True:
                block = f.read(CHUNK)
                if not block:
                    break
                whole.update(block)
                chunks.append(hashlib.sha256(block).hexdigest())
                size += len(block)
    except OSError as err:
        raise Refused("archive_missing", "read %s: %s" % (path, err.strerror)) from err
    return {"sha256": whole.hexdigest(), "size": size, "chunks": chunks}


class _Cache:
    """What is known of one file. The forks of a play wait for each other here, so that one of them reads it.

    The host hashes what arrives anyway: a file that lies about its times gains nothing.
    """

    def __init__(self, path):
        self.path = path
        self.entry = {}
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
                self.entry = entry if entry.get("format") == FORMAT else {}
                for used in (self.file, self.file + ".lock"):
                    os.utime(used)
            except (OSError, ValueError, AttributeError):
                self.entry = {}
        return self

    def __exit__(self, *exc):
        self.stack.close()

    def seen(self):
        """Give sha256, size and chunks of the file; read it if it is not known."""
        before = _stamp(self.path)
        seen = self.entry.get("seen")
        if seen and seen["stamp"] == before:
            return seen
        seen = local.survey(self.path, CHUNK) or _sums(self.path)
        if before is None or _stamp(self.path) != before:
            raise Refused("archive_corrupt", "read %s: it changed meanwhile" % self.path, "run the same play again")
        seen["stamp"] = before
        self.entry = {"format": FORMAT, "seen": seen}
        # One that was changed just now could change again without showing it.
        self.changed = time.time_ns() - before[3] > 2 * 10**9
        return seen

    def verdict(self, key):
        """Give what gofleet said, if everything that it looked at is unchanged."""
        kept = self.entry.get("verdict")
        return kept["verdict"] if kept and kept["key"] == key else None

    def keep_verdict(self, key, verdict):
        """Keep what gofleet said of the file as it was seen."""
        self.entry["verdict"] = {"key": key, "verdict": verdict}
        self.changed = self.changed or time.time_ns() - self.entry["seen"]["stamp"][3] > 2 * 10**9

    def save(self):
        """Write what is new."""
        if not self.file or not self.changed:
            return
        local.sweep(os.path.dirname(self.file))
        fd, new = tempfile.mkstemp(dir=os.path.dirname(self.file), prefix=".new-")
        with os.fdopen(fd, "w", encoding="utf-8") as f:
            json.dump(self.entry, f)
        os.rename(new, self.file)
