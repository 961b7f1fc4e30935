package spec

import (
	"slices"
	"strings"
)

// goEnvNames are the variables of the go command, up to Go 1.27, that
// $GOROOT/go.env may set.
var goEnvNames = []string{
	"AR", "CC", "CXX", "FC", "GCCGO", "PKG_CONFIG",
	"CGO_CFLAGS", "CGO_CFLAGS_ALLOW", "CGO_CFLAGS_DISALLOW",
	"CGO_CPPFLAGS", "CGO_CPPFLAGS_ALLOW", "CGO_CPPFLAGS_DISALLOW",
	"CGO_CXXFLAGS", "CGO_CXXFLAGS_ALLOW", "CGO_CXXFLAGS_DISALLOW",
	"CGO_FFLAGS", "CGO_FFLAGS_ALLOW", "CGO_FFLAGS_DISALLOW",
	"CGO_LDFLAGS", "CGO_LDFLAGS_ALLOW", "CGO_LDFLAGS_DISALLOW",
	"CGO_ENABLED", "GO111MODULE", "GO386", "GOAMD64", "GOARCH", "GOARM", "GOARM64", "GOAUTH", "GOBIN", "GOCACHE",
	"GOCACHEPROG", "GOEXPERIMENT", "GOFIPS140", "GOFLAGS", "GOINSECURE", "GOMIPS", "GOMIPS64", "GOMODCACHE",
	"GONOPROXY", "GONOSUMDB", "GOOS", "GOPATH", "GOPPC64", "GOPRIVATE", "GOPROXY", "GORISCV64", "GOSUMDB",
	"GOTMPDIR", "GOTOOLCHAIN", "GOVCS", "GOWASM", "GO_EXTLINK_ENABLED",
}

// goEnvRead are listed by go env, which refuses to change them.
var goEnvRead = []string{
	"GOEXE", "GOGCCFLAGS", "GOHOSTARCH", "GOHOSTOS", "GOMOD", "GOTELEMETRY", "GOTELEMETRYDIR", "GOTOOLDIR", "GOVERSION",
}

// goEnvProcess are listed by go env, and work in a process's environment only.
var goEnvProcess = []string{"GODEBUG", "GOENV", "GOPACKAGESDRIVER", "GOWORK"}

// goEnvPaths must be absolute, or go refuses to work.
var goEnvPaths = []string{"GOBIN", "GOCACHE", "GOMODCACHE", "GOPATH", "GOTMPDIR"}

// goRuntime are variables of Go programs, often taken for the go command's.
var goRuntime = []string{"GOCOVERDIR", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GORACE", "GOTRACEBACK"}

// refusedNames would let a variable change which code runs, or who a shell
// believes to be: what shells evaluate, what the C library and interpreters
// load, and the identity that login sets.
var refusedNames = []string{
	"BASHOPTS", "CDPATH", "ENV", "FPATH", "GLOBIGNORE", "IFS", "PROMPT_COMMAND", "PS0", "PS1", "PS2", "PS4",
	"SHELLOPTS", "ZDOTDIR",
	"EUID", "HOME", "LOGNAME", "OLDPWD", "PPID", "PWD", "SHELL", "UID", "USER", "_",
	"GCONV_PATH", "GETCONF_DIR", "GLIBC_TUNABLES", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH", "NLSPATH",
	"RESOLV_HOST_CONF", "RES_OPTIONS",
	"PERL5DB", "PERL5LIB", "PERL5OPT", "PERLLIB", "PYTHONHOME", "PYTHONINSPECT", "PYTHONSTARTUP", "RUBYLIB", "RUBYOPT",
}

func refusedInEnvironment(name string) bool {
	for _, prefix := range []string{"LD_", "BASH_", "MALLOC_", "SUDO_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains(refusedNames, name)
}
