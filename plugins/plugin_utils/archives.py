# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find Go archives on the controller and judge them.

As in gofleet, the first evidence that names a file decides: the pin, the table
of official sums, and then whatever the program gofleet finds. Bundles it reads
alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from urllib.error import HTTPError

from ansible.module_utils.urls import open_url
from ansible.utils.display import Display

from ansible_collections.gofleet.golang.plugins.plugin_utils import beside, known, local, programs
from ansible_collections.gofleet.golang.plugins.plugin_utils.errors import Missing, Refused, Unjudged

ZSTD_FROM = 8  # hosts: gofleet says the same of all more


class Archive:
    """An archive that is believed."""

    def __init__(self, place, question, directory, release, seen=None):
        self.place = place  # its file, or the bundle
        self.stamp = known.place_stamp(place)
        self.question = question
        self.directory = directory
        self.release = release
        self.seen = seen  # what is known of the file; None in a bundle
        self.sent = None
        self.file = None  # what travels
        self.file_stamp = None

    def unchanged(self):
        """Tell whether everything lies there as it was judged."""
        return known.place_stamp(self.place) == self.stamp and (self.file is None or known.stamp(self.file) == self.file_stamp)

    def prepare(self, hosts, make=True):
        """See to what travels to so many hosts, and tell whether it is there.

        The program gofleet has a form that hosts unpack faster. Without make, none is made.
        """
        if self.sent is None:
            gofleet = beside.program()
            found = self._offered(gofleet, hosts, make) if gofleet else None
            if found:
                self.release = dict(found["release"], evidence=self.release["evidence"])
                self._sends(found["file"], found["transfer"])
            elif not gofleet or make:
                self._sends(self.place, self._as_it_is())
        return self.sent is not None

    def _offered(self, gofleet, hosts, make):
        """Give what gofleet would send; None where that is not known, or where it cannot say."""
        with known.Cache(self.place) as cache:
            key = known.circumstances(gofleet, self.question, self.directory, self.place) + [min(hosts, ZSTD_FROM)]
            found = cache.kept("transfer", key)
            if found and known.stamp(found["file"]) == found["stamp"]:
                return found
            if not make:
                return None
            location = os.path.dirname(self.place) if self.seen else self.place
            try:
                found = beside.offer(gofleet, self.question, location, self.directory, hosts, transfer=True)
            except Unjudged as err:
                if not self.seen:
                    raise
                Display().vvv("gofleet: %s; the archive travels as it is" % err)
                return None
            if found["release"]["sha256"] != self.release["sha256"]:
                raise known.changed(self.place)
            found["stamp"] = known.stamp(found["file"])
            cache.keep("transfer", key, found)
            cache.save()
            return found

    def _as_it_is(self):
        transfer = {"encoding": "gzip", "chunk_size": known.CHUNK}
        transfer.update({key: self.seen[key] for key in ("sha256", "size", "chunks", "manifest") if key in self.seen})
        return transfer

    def _sends(self, file, transfer):
        self.file, self.file_stamp, self.sent = file, known.stamp(file), transfer

    @property
    def size(self):
        """Of what travels."""
        return self.sent["size"]

    def offer(self):
        """Give what a host is told that may need the archive."""
        return {"release": self.release, "transfer": self.transfer()}

    def announce(self, control, whole=False, manifest=False):
        """Tell the agent what travels."""
        control["transfer"] = self.transfer(whole, manifest)

    def transfer(self, whole=False, manifest=False):
        """Give what travels.

        whole says that all of it has been sent. manifest adds the list of what
        is in it, which spares the host hashing every file, and is worth sending
        only with the last of the bytes.
        """
        transfer = dict(self.sent, whole=whole)
        if not manifest:
            transfer.pop("manifest", None)
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
        location = os.path.abspath(os.path.join(directory, os.path.expanduser(location)))
        if _is_bundle(location):
            return _from_bundle(location, question, directory, option)
        return _believe(_look(location, question, option), question, directory)
    while True:
        path, fresh = _download(location, question)
        try:
            return _believe(path, question, directory)
        except Refused:
            _forget(path)
            if fresh:
                raise
            # What was fetched before may be what the server no longer has.


def _believe(path, question, directory):
    with known.Cache(path) as cache:
        try:
            seen = cache.seen()
            evidence = _judge(path, seen, question, cache)
        finally:
            cache.save()
    release = {
        "version": question["version"],
        "platform": question["platform"],
        "name": os.path.basename(path),
        "sha256": seen["sha256"],
        "evidence": evidence,
    }
    if "manifest" in seen:
        release["tree"] = seen["tree"]
    return Archive(path, question, directory, release, seen)


def _is_bundle(location):
    """Tell what gofleet takes as a bundle: a directory with a manifest, a file, one of its parts or the name that they share."""
    if os.path.isfile(os.path.join(location, "manifest")) or os.path.exists(location + ".parts"):
        return True
    return os.path.isfile(location) and not location.endswith(".tar.gz")


def _from_bundle(location, question, directory, option):
    gofleet = beside.program()
    if gofleet is None:
        raise Unjudged(
            "archive_missing",
            "%s is a bundle, which only the program gofleet can read, and it is not on this machine's PATH" % location,
            "%s, or let %s name a directory of archives or an http(s) URL" % (beside.WAY, option),
        )
    with known.Cache(location) as cache:
        key = known.circumstances(gofleet, question, directory, location)
        found = cache.kept("offer", key)
        if found is None:
            found = beside.offer(gofleet, question, location, directory)
            cache.keep("offer", key, found)
            cache.save()
    return Archive(location, question, directory, found["release"])


def _forget(path):
    for suffix in ("", ".asc", ".evidence"):
        with contextlib.suppress(OSError):
            os.unlink(path + suffix)


def _look(directory, question, option):
    if not os.path.isdir(directory):
        raise Missing(
            "archive_missing",
            "%s is not a directory" % directory,
            "%s names the directory, bundle or URL that has the Go archives; a relative path is relative to the inventory" % option,
        )
    for name in question["names"]:
        path = os.path.join(directory, name)
        with known.readable(path), contextlib.suppress(FileNotFoundError):
            os.stat(path)
            return path
    raise _missing(question, directory)


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


def _ask_gofleet(path, seen, line, cache):
    gofleet = beside.program()
    if gofleet is None:
        raise Unjudged(
            "archive_missing",
            "refuse %s: neither a pin nor the table of official sums names it, and its other evidence only the program gofleet can judge, "
            "which is not on this machine's PATH" % path,
            "%s, or, if you know that the archive is good, pin it: %s" % (beside.WAY, line),
        )
    key = [known.stamp(gofleet)] + [known.stamp(path + suffix) for suffix in (".asc", ".evidence")]
    verdict = cache.kept("verdict", key)
    if verdict is None:
        verdict = beside.verify(gofleet, path)
        cache.keep("verdict", key, verdict)
    if not verdict.get("accepted"):
        raise Refused("archive_corrupt", "refuse %s: %s" % (path, verdict.get("reason")), verdict.get("hint", ""))
    if verdict["sha256"] != seen["sha256"]:
        raise known.changed(path)
    return "%s: %s" % (verdict.get("by"), verdict.get("reason"))
