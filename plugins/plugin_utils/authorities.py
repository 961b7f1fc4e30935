# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates of authorities: files on the controller become what the agent takes."""

from __future__ import annotations

import os
import re
import ssl

ONE = re.compile(r"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.DOTALL)
MAX_FILE = 4 << 20


class Unusable(Exception):
    """An item that cannot be used, for a reason that its text tells."""


def read(items, directory, option):
    """Give the certificates of the option's items, one PEM text each."""
    if isinstance(items, str):
        items = [items] if "-----BEGIN" in items else [i.strip() for i in items.split(",") if i.strip()]
    if not isinstance(items, list):
        return items  # the agent says what is wrong with it
    certificates = []
    for number, item in enumerate(items):
        if not isinstance(item, str) or not item.strip():
            return items
        what = "%s[%d]" % (option, number)
        text = item if "-----BEGIN" in item else _file(item.strip(), directory, what)
        if "PRIVATE KEY-----" in text:
            raise Unusable("%s holds a private key" % what)
        found = ONE.findall(text)
        if not found:
            raise Unusable("%s holds no certificate in PEM" % what)
        for pem in found:
            _check(pem, what)
            if pem not in certificates:
                certificates.append(pem + "\n")
    return certificates


def _file(path, directory, what):
    path = os.path.join(directory, os.path.expanduser(path))
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read(MAX_FILE)
    except OSError as err:
        raise Unusable("%s: cannot read %s: %s" % (what, path, err.strerror)) from err


def _check(pem, what):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError) as err:
        raise Unusable("%s is no certificate" % what) from err
    if context.cert_store_stats()["x509_ca"] != 1:
        raise Unusable("%s is not an authority's certificate: nothing else can be trusted to sign" % what)
