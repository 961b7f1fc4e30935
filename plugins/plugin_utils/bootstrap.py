# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shell line that runs gofleet's agent on a host.

POSIX sh, run by dash, busybox ash, bash and the like. It is handed over by
whatever login shell the user has, so the text has no single quote, backslash
or exclamation mark and, after joining, no newline.
"""

from __future__ import annotations

import shlex

# Its arguments are the marker, the agents as "sha256:machine,machine ...", how
# the login user's uid is known (self, sudo or nothing), what to do (run or
# bring), the file with the arguments, the file with the agent, and gofleet_root.
#
# run starts the cached agent or says what kind of host this is. The agent is
# used only if it and every directory above it, on the physical path, belong to
# root (or to us) and no group or other may write there: one ls tells.
#
# bring takes an agent: "size sha256 gz|raw bytes" and, on a line of its own,
# the arguments; then the program, which is checked before it is started and
# lies in a fresh directory that it removes by itself.
#
# closed, cached, place and the check of the sum are gofleet's own, from
# controller/internal/remote/script.go; a test there keeps them equal.
SCRIPT = """
M=$1; A=$2; L=$3; X=$4; F=$5; G=$6; R=$7
umask 077
u=
while read -r k x e x; do case $k in Uid:) u=$e; break;; esac; done 2>/dev/null </proc/self/status
[ -n "$u" ] || u=$(id -u)
case $L in self) L=$u;; sudo) L=${SUDO_UID:--1};; *) L=-1;; esac
closed() {
case $1 in *[[:space:]]*) return 1;; esac
q=$1; s=$2; n=1; set --
while [ -n "$q" ]; do set -- "$q" "$@"; q=${q%/*}; n=$((n+1)); done
i=0; o=$(LC_ALL=C exec ls -ldn / "$@" 2>/dev/null) || return 1
set -f
for w in $o; do
case $i in
0) case $w in [d-]????-??-*|d????????[$s]*) i=1;; *) i=1; break;; esac;;
1) i=2;;
2) [ "$w" = 0 ] || [ "$w" = "$u" ] || break; i=3;;
*) case $w in /*) i=0; n=$((n-1));; esac;;
esac
done
set +f
[ $n = 0 ] && [ $i = 0 ]
}
cached() {
if [ "$u" = 0 ]; then D=/usr/local/lib/gofleet/agent; else D=$HOME/.cache/gofleet/agent; fi
cd -P "$D" 2>/dev/null && p=$PWD && cd / || return 1
n=0
for x in $A; do [ -f "$p/${x%%:*}" ] && { n=$((n+1)); f=${x%%:*}; }; done
[ $n = 0 ] && return 1
if [ $n -gt 1 ]; then m=$(uname -m); for x in $A; do case ,${x#*:}, in *,$m,*) f=${x%%:*};; esac; done; fi
closed "$p/$f" . && [ -x "$p/$f" ]
}
if [ "$X" = run ]; then
if cached; then
exec "$p/$f" ansible --marker "$M" --login-uid "$L" ${F:+"$F"}
fi
[ -n "$F" ] || cat >/dev/null
z=0; command -v gzip >/dev/null 2>&1 && z=1
echo "$M need $(uname -sm) gzip=$z"
exit 0
fi
cd /
gone() { rm -rf "$d"; }
place() {
case $1 in /*) ;; *) return 1;; esac
[ -w "$1" ] && cd -P "$1" 2>/dev/null && p=$PWD && cd / && closed "$p" tT || return 1
d=${p%/}/.gofleet-$M; mkdir "$d" 2>/dev/null || return 1
f=$d/gofleet-agent
: >"$f" && chmod 700 "$f" && "$f" </dev/null >/dev/null 2>&1 && return 0
gone
return 1
}
t=
for x in /run "${R%/*}" "$TMPDIR" "$XDG_RUNTIME_DIR" "$HOME" /tmp; do
if place "$x"; then t=1; break; fi
[ -n "$x" ] && T="$T $x"
done
if [ -z "$t" ]; then [ -n "$F" ] || cat >/dev/null; echo "$M noexec$T"; exit 0; fi
trap "gone; exit 1" HUP TERM PIPE
J=
if [ -n "$F" ]; then
set -- $G; n=$1; h=$2; e=$3
cat "$4" >"$f"
else
read -r n h e w
IFS= read -r J
case $e in gz) head -c "$w" | gzip -dc >"$f";; *) head -c "$w" >"$f";; esac
fi
if command -v sha256sum >/dev/null 2>&1; then g=$(sha256sum <"$f")
elif command -v openssl >/dev/null 2>&1; then g=$(openssl dgst -sha256 -r <"$f")
elif command -v shasum >/dev/null 2>&1; then g=$(shasum -a 256 <"$f")
else set -- $(wc -c <"$f"); g=$1; h=$n; fi
if [ "${g%% *}" != "$h" ]; then gone; echo "$M corrupt"; exit 0; fi
if [ -n "$F" ]; then "$f" ansible --marker "$M" --login-uid "$L" --temp "$d" "$F"
else printf %s "$J" | "$f" ansible --marker "$M" --login-uid "$L" --temp "$d"; fi
x=$?
case $x in 126|127|129|1[3-9]?|2??) gone; echo "$M died $x";; esac
exit 0
"""


def one_line(script):
    """Join lines with semicolons where the shell's grammar wants one."""
    out = []
    for text in script.split("\n"):
        if text:
            goes_on = text.endswith(("{", " do", "then", "else", ";;", " in"))
            out.append(text + (" " if goes_on else "; "))
    return "".join(out).rstrip("; ")


LINE = one_line(SCRIPT)


def command(marker, agents, login, act, arguments="", program="", root="", env=""):
    """Give the command for the host.

    env is what Ansible makes of the task's environment: assignments in front.
    """
    words = ["/bin/sh", "-c", LINE, "sh", marker, agents, login, act, arguments, program, root]
    line = " ".join(shlex.quote(word) for word in words)
    return "%s %s" % (env.strip(), line) if env.strip() else line


def answer(marker, text):
    """Give the word and the rest behind the last marker in text, or None."""
    for line in reversed(text.splitlines()):
        at = line.find(marker + " ")
        if at >= 0:
            word, dummy, rest = line[at + len(marker) + 1:].partition(" ")
            return word, rest
    return None
