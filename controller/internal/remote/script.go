package remote

import (
	"errors"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
)

// The shell line. POSIX sh, run by dash, busybox ash, bash and the like; it is
// handed over by whatever login shell the user has. Therefore the text has no
// single quote, backslash, exclamation mark and (after joining) no newline:
// fish, csh and sh agree about everything else between single quotes.

// whoami puts the effective uid into u, without a fork where /proc is there.
const whoami = `u=
while read -r k x e x; do case $k in Uid:) u=$e; break;; esac; done 2>/dev/null </proc/self/status
[ -n "$u" ] || u=$(id -u)
`

// becomeScript notes the login user's uid and becomes another user. Its
// arguments are the inner script, the marker, the root, the agents, whether to
// look into the cache, and the words that become.
const becomeScript = `s=$1; m=$2; r=$3; a=$4; c=$5; shift 5
` + whoami + `
command -v "$1" >/dev/null 2>&1 || { echo "$m nobecome $1"; exit 127; }
LC_ALL=C; export LC_ALL
exec "$@" -c "$s" sh "$m" "$r" "$a" "$c" "$u"
`

// agentScript runs the cached agent, or asks for one. Its arguments are the
// marker, gofleet_root, the agents as "sha256:machine,machine ..." , whether
// to look into the cache, and the login uid (empty: the same as ours).
//
// closed tells whether a path and every directory above it, on the physical
// path, belong to root (or to us) and no group or other may write there; with
// "tT", the bit that keeps others from renaming what is not theirs will do. One
// ls tells. The cached agent is used only so, and a fresh one is put nowhere
// else: whoever can rename a directory above it decides what is started.
//
// Nothing but the agent's name is needed to find it, so uname runs only where
// agents of several machines are cached.
//
// An agent unlinks itself and its directory at once. What is left of one that
// died before is removed when it has ended, however it ended.
//
// Head may read more than it was told to from a pipe (busybox does). That
// loses nothing: the controller sends nothing behind the agent's bytes until
// the agent has said Hello.
const agentScript = `M=$1; R=$2; A=$3; C=$4; L=$5
umask 077
` + whoami + `
[ -n "$L" ] || L=$u
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
if [ "$C" = 1 ] && cached; then
echo "$M cached"
exec "$p/$f" serve --marker "$M" --login-uid "$L" --cached
fi
cd /
set -- $(uname -srm); S=$1; K=$2; m=$3
b=$(getconf LONG_BIT 2>/dev/null)
[ -n "$b" ] || case $(dd if=/proc/self/exe bs=1 skip=4 count=1 2>/dev/null | od -An -tu1 2>/dev/null) in *1*) b=32;; *2*) b=64;; esac
l=; set -- $(getconf GNU_LIBC_VERSION 2>/dev/null)
if [ "$1" = glibc ]; then l=glibc-$2; else
o=$(ldd --version 2>&1)
case $o in *musl*) l=musl;; *GLIBC*|*"GNU libc"*) l=glibc;; *) for x in /lib/ld-musl-*; do [ -e "$x" ] && l=musl; done;; esac
if [ -n "$l" ]; then for x in $o; do case $x in [0-9]*.[0-9]*) l=$l-${x%%-*}; break;; esac; done; else
l=none; for x in /lib/ld-linux* /lib64/ld-linux* /lib64/ld64* /lib/ld64*; do [ -e "$x" ] && l=; done; fi
fi
z=0; command -v gzip >/dev/null 2>&1 && z=1
P="$S $m $K bits=$b libc=$l gzip=$z"
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
if [ -z "$t" ]; then echo "$M noexec $P$T"; exit 1; fi
trap "gone; exit 1" HUP TERM PIPE
echo "$M need $P"
read -r n h e w || { gone; exit 1; }
case $e in gz) head -c "$w" | gzip -dc >"$f";; *) head -c "$w" >"$f";; esac
if command -v sha256sum >/dev/null 2>&1; then g=$(sha256sum <"$f")
elif command -v openssl >/dev/null 2>&1; then g=$(openssl dgst -sha256 -r <"$f")
elif command -v shasum >/dev/null 2>&1; then g=$(shasum -a 256 <"$f")
else set -- $(wc -c <"$f"); g=$1; h=$n; fi
[ "${g%% *}" = "$h" ] || { gone; echo "$M corrupt"; exit 1; }
"$f" serve --marker "$M" --login-uid "$L" --temp "$d"
x=$?
[ -O "$d" ] && gone
case $x in 126|127|129|1[3-9]?|2??) echo "$M died $x";; esac
exit $x
`

// machines are the machines that each architecture's agent serves, as uname
// -m says them.
var machines = map[string]string{
	"amd64": "x86_64", "arm64": "aarch64", "386": "i386,i486,i586,i686", "armv6l": "armv6l,armv7l,armv8l",
	"ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64", "loong64": "loongarch64",
}

// oneLine joins the lines of a script with semicolons where the shell's
// grammar wants one.
func oneLine(script string) string {
	var b strings.Builder
	for l := range strings.SplitSeq(script, "\n") {
		if l == "" {
			continue
		}
		b.WriteString(l)
		switch {
		case strings.HasSuffix(l, "{"), strings.HasSuffix(l, " do"), strings.HasSuffix(l, "then"),
			strings.HasSuffix(l, "else"), strings.HasSuffix(l, ";;"), strings.HasSuffix(l, " in"):
			b.WriteByte(' ')
		default:
			b.WriteString("; ")
		}
	}
	return strings.TrimSuffix(b.String(), "; ")
}

// errUnquotable refuses what no quoting carries through every shell.
var errUnquotable = errors.New("holds a newline or a NUL")

// quote makes one word of s for sh, bash, zsh, fish, csh and tcsh alike.
// Quotes, backslashes and exclamation marks stand outside of the quotes, each
// behind a backslash, which all of them read the same way.
func quote(s string) (string, error) {
	if strings.ContainsAny(s, "\n\r\x00") {
		return "", errUnquotable
	}
	var b strings.Builder
	b.WriteByte('\'')
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\'', '\\', '!':
			b.WriteString(`'\`)
			b.WriteByte(s[i])
			b.WriteByte('\'')
		default:
			b.WriteByte(s[i])
		}
	}
	b.WriteByte('\'')
	return b.String(), nil
}

// shellLine is what the shell line is made of.
type shellLine struct {
	marker, root string
	agents       []Binary
	cache        bool     // look into the host's cache
	become       []string // the words that become; nil: none
	tty          bool     // on a terminal
}

// commandLine is what the login shell gets.
func commandLine(l shellLine) (string, error) {
	useCache := "0"
	if l.cache {
		useCache = "1"
	}
	agentScript, becomeScript := agentScript, becomeScript
	if l.tty { // what becomes may make a terminal of its own
		agentScript, becomeScript = rawTerminal+agentScript, rawTerminal+becomeScript
	}
	inner := []string{l.marker, l.root, agentList(l.agents), useCache}
	words := []string{"sh", "-c", oneLine(agentScript), "sh"}
	words = append(words, inner...)
	if l.become == nil {
		words = append(words, "")
	} else {
		words = []string{"sh", "-c", oneLine(becomeScript), "sh", oneLine(agentScript)}
		words = append(append(words, inner...), l.become...)
	}
	for i, w := range words {
		q, err := quote(w)
		if err != nil {
			return "", err
		}
		words[i] = q
	}
	return "exec " + strings.Join(words, " "), nil
}

// agentList is "sha256:machine,machine ..." in a fixed order.
func agentList(agents []Binary) string {
	var out []string
	for _, a := range agents {
		if m, ok := machines[a.Platform.Arch]; ok && a.Platform.OS == "linux" {
			out = append(out, a.SHA256+":"+m)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// Binary is the agent's program for one platform.
type Binary struct {
	Platform spec.Platform
	SHA256   string // of the program, lower-case hex
	Size     int64  // of the program
	Gzip     []byte // the program, compressed
}
