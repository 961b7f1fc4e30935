package spec

// Variable describes one variable, or one key inside a variable, for
// documentation and for Ansible's argument_specs.
type Variable struct {
	Name     string     // without the prefix
	Type     string     // as Ansible names it: str, int, path, list, dict, raw
	Format   string     // what the text of a str is: version, size, duration, percentage
	Elements string     // type of a list's items
	Default  any        // as it would be written; nil: none
	Choices  []string   // the only values, where there are few
	Required bool       // by apply, or where the dictionary is given
	Secret   bool       // never shown
	Help     string     // one line, without a full stop
	Fields   []Variable // keys of a dictionary, or of a list's dictionaries
}

// Variables lists every variable in the order of the documentation. Names
// inside a dictionary of free names, as in gofleet_env, are not listed.
func Variables() []Variable {
	bounds := func(typ, format string, low, recommended any) []Variable {
		return []Variable{
			{Name: "min", Type: typ, Format: format, Default: low, Help: "less fails the host"},
			{Name: "recommended", Type: typ, Format: format, Default: recommended, Help: "less warns"},
		}
	}
	account := []Variable{
		{Name: "name", Type: "str", Required: true, Help: "the account, which is not root"},
		{Name: "uid", Type: "int", Help: "its number; not set, whichever the host gives"},
		{Name: "gid", Type: "int", Help: "number of its primary group, which is made with the account if it bears its name"},
		{Name: "group", Type: "str", Help: "its primary group; not set, whichever the host gives"},
		{Name: "home", Type: "path", Help: "its home; not set, where the host has homes"},
		{Name: "shell", Type: "path", Default: DefaultShell, Help: "login shell of a new account"},
		{Name: "groups", Type: "list", Elements: "str", Default: []any{}, Help: "further groups"},
		{Name: "authorized_keys", Type: "list", Elements: "str", Default: []any{}, Help: "public keys, each one line"},
		{Name: "exclusive", Type: "bool", Default: false, Help: "the file of keys has these and no others"},
		{Name: "sudo", Type: "raw", Default: "none", Help: "none, or the commands allowed without a password"},
	}
	return []Variable{
		{Name: "go_version", Type: "str", Format: "version", Required: true, Help: "the Go release to install, in quotes"},
		{Name: "archives", Type: "path", Default: DefaultArchives, Help: "directory, http(s) URL on the inner network, or bundle"},
		{Name: "trusted_keys", Type: "list", Elements: "str", Default: []any{}, Help: "whose bundles are taken, beside one's own: minisign public keys, files with one, or any"},
		{Name: "sha256", Type: "dict", Default: map[string]any{}, Help: "sha256 of the archive by platform: pins that decide alone"},
		{Name: "root", Type: "path", Default: DefaultRoot, Help: "where toolchains lie on the host"},
		{Name: "link", Type: "path", Default: DefaultLink, Help: "the link to the current toolchain"},
		{Name: "keep", Type: "int", Default: int64(2), Help: "older toolchains kept for rollback, 0 to 100"},
		{Name: "env", Type: "dict", Default: map[string]any{"GOTOOLCHAIN": "local"}, Help: "variables of the go command, written to go.env"},
		{Name: "environment", Type: "dict", Default: map[string]any{}, Help: "other variables, for sessions and services"},
		{Name: "environment_files", Type: "list", Elements: "str", Default: []any{EnvironmentProfile}, Help: "where those are written: profile, environment, systemd"},
		{Name: "verify", Type: "dict", Help: "how a toolchain is proved before it becomes current", Fields: []Variable{
			{Name: "level", Type: "str", Default: VerifyQuick, Choices: []string{VerifyQuick, VerifyBuild, VerifyCgo}, Help: "each level includes those before it"},
			{Name: "commands", Type: "list", Elements: "dict", Default: []any{}, Help: "further commands that must succeed", Fields: []Variable{
				{Name: "command", Type: "list", Elements: "str", Required: true, Help: "program and arguments; no shell reads them"},
				{Name: "user", Type: "str", Help: "who runs it; without one the deploy user, where there is one"},
				{Name: "chdir", Type: "path", Help: "where it runs"},
				{Name: "timeout", Type: "str", Format: "duration", Default: "1m", Help: "time for one try"},
				{Name: "retries", Type: "int", Default: int64(0), Help: "further tries, 0 to 100"},
				{Name: "rc", Type: "int", Default: int64(0), Help: "the exit code that counts as good"},
			}},
		}},
		{Name: "user", Type: "dict", Help: "the deploy user; null makes none", Fields: account},
		{Name: "users", Type: "list", Elements: "dict", Default: []any{}, Help: "accounts beside the deploy user", Fields: account},
		{Name: "directories", Type: "list", Elements: "dict", Default: []any{}, Help: "directories with owner and mode", Fields: []Variable{
			{Name: "path", Type: "path", Required: true, Help: "the directory, absolute"},
			{Name: "owner", Type: "str", Default: defaultOwner, Help: "the account that it belongs to, which may be one of gofleet_users"},
			{Name: "group", Type: "str", Help: "its group; not set, the owner's primary group"},
			{Name: "mode", Type: "str", Default: defaultMode, Help: "permissions in octal, in quotes"},
		}},
		{Name: "preconditions", Type: "dict", Help: "what a host must be; null switches one off", Fields: []Variable{
			{Name: "os", Type: "list", Elements: "str", Default: []any{"linux"}, Help: "operating systems"},
			{Name: "arch", Type: "list", Elements: "str", Default: []any{"x86_64", "aarch64"}, Help: "machines, as uname -m or Go archives name them"},
			{Name: "kernel", Type: "dict", Help: "version of the kernel", Fields: bounds("str", "version", "4.14", nil)},
			{Name: "glibc", Type: "dict", Help: "version of the GNU C library", Fields: bounds("str", "version", "2.28", nil)},
			{Name: "cpus", Type: "dict", Help: "CPUs that a process may use", Fields: bounds("int", "", int64(1), int64(4))},
			{Name: "memory", Type: "dict", Help: "memory; 90 % of the figure is enough", Fields: bounds("str", "size", "2GB", "8GB")},
			{Name: "disk", Type: "dict", Help: "free space at root, plus what the wanted toolchain already takes", Fields: bounds("str", "size", "1GB", nil)},
			{Name: "inodes", Type: "dict", Help: "free inodes at root, plus those of the wanted toolchain", Fields: bounds("int", "", int64(20000), nil)},
			{Name: "noexec", Type: "str", Default: "fail", Choices: []string{"fail", "warn"}, Help: "what a root mounted noexec means"},
			{Name: "clock", Type: "dict", Help: "difference between host and controller; more warns", Fields: []Variable{
				{Name: "max_skew", Type: "str", Format: "duration", Default: "5m", Help: "the most that is fine"},
			}},
			{Name: "distributions", Type: "dict", Help: `conditions such as "ubuntu>=20.04"; one that holds is enough`, Fields: []Variable{
				{Name: "required", Type: "list", Elements: "str", Default: []any{}, Help: "none holding fails the host"},
				{Name: "recommended", Type: "list", Elements: "str", Default: []any{}, Help: "none holding warns"},
			}},
			{Name: "commands", Type: "list", Elements: "raw", Default: []any{}, Help: "programs on the PATH: names, or dictionaries with a lowest version", Fields: []Variable{
				{Name: "name", Type: "str", Required: true, Help: "the program"},
				{Name: "min", Type: "str", Format: "version", Help: "the lowest version that it may tell"},
			}},
			{Name: "module_proxy", Type: "raw", Help: "fail, warn, or a dictionary: whether the servers of GOPROXY answer the deploy user", Fields: []Variable{
				{Name: "on", Type: "str", Default: "fail", Choices: []string{"fail", "warn"}, Help: "what a server that does not means"},
				{Name: "module", Type: "str", Default: probeModule, Help: "the module that is asked for; one that is not there is fine"},
				{Name: "timeout", Type: "str", Format: "duration", Default: "20s", Help: "time for each server"},
			}},
			{Name: "cgo", Type: "dict", Help: "the C toolchain, proved by programs that are built; {} takes these defaults", Fields: []Variable{
				{Name: "min", Type: "str", Format: "version", Help: "the lowest version of gcc and g++"},
				{Name: "cxx", Type: "bool", Default: true, Help: "g++ and the C++ library too"},
				{Name: "pkg_config", Type: "bool", Default: true, Help: "pkg-config too"},
			}},
		}},
		{Name: "slo", Type: "dict", Help: "an error budget over time: where it is used up, gofleet's runs do not start", Fields: []Variable{
			{Name: "target", Type: "str", Format: "percentage", Required: true, Help: "the part of results that must be good"},
			{Name: "window", Type: "str", Format: "duration", Default: "30d", Help: "how far back, 1h to 90d"},
		}},
		{Name: "packages", Type: "list", Elements: "raw", Default: []any{}, Help: "packages of the host's distribution, out of the bundle: names, or dictionaries", Fields: []Variable{
			{Name: "name", Type: "str", Required: true, Help: "the package"},
			{Name: "min", Type: "str", Format: "version", Help: "the lowest version; without an epoch, none is compared"},
			{Name: "upgrade", Type: "bool", Default: false, Help: "installed packages that it needs newer may be upgraded out of the bundle"},
			{Name: "debian", Type: "str", Help: "its name on Debian, Ubuntu and their like, where it differs"},
			{Name: "rhel", Type: "str", Help: "its name on RHEL, Rocky, Fedora and their like, where it differs"},
			{Name: "suse", Type: "str", Help: "its name on SLES and openSUSE, where it differs"},
			{Name: "alpine", Type: "str", Help: "its name on Alpine, where it differs"},
		}},
		{Name: "uniform", Type: "list", Elements: "str", Default: []any{}, Help: "facts in which an audit names hosts unlike their group: distribution, kernel, glibc, zone"},
		{Name: "ca_certificates", Type: "list", Elements: "str", Default: []any{}, Help: "certificates of inner authorities for the system's store: PEM texts, or files with some"},
		{Name: "netrc", Type: "list", Elements: "dict", Default: []any{}, Help: "credentials in the deploy user's ~/.netrc, for an inner GOPROXY or git server", Fields: []Variable{
			{Name: "machine", Type: "str", Required: true, Help: "host of the URL, with the port if the URL has one"},
			{Name: "login", Type: "str", Required: true, Help: "user name"},
			{Name: "password", Type: "str", Required: true, Secret: true, Help: "password or token, from a vault"},
		}},
		{Name: "modules", Type: "raw", Help: "the bundle whose module cache hosts get as their GOPROXY, or a dictionary", Fields: []Variable{
			{Name: "from", Type: "path", Required: true, Help: "the bundle: its file, its directory, or one of its parts"},
			{Name: "private", Type: "list", Elements: "str", Default: []any{}, Help: "patterns of modules that the checksum database does not know, as in GOPRIVATE"},
		}},
		{Name: "gopath", Type: "dict", Help: "sources of projects from before modules, for the deploy user's GOPATH", Fields: []Variable{
			{Name: "sources", Type: "path", Required: true, Help: "directory whose content comes to src below the GOPATH"},
			{Name: "path", Type: "path", Help: "the GOPATH, belonging to the deploy user; not set, go in its home"},
		}},
		{Name: "time", Type: "dict", Help: "the host's clock: time zone and NTP servers", Fields: []Variable{
			{Name: "zone", Type: "str", Help: "name of the time zone, as Asia/Shanghai; not set, left alone"},
			{Name: "servers", Type: "list", Elements: "str", Default: []any{}, Help: "NTP servers for the daemon that the host has"},
			{Name: "max_offset", Type: "str", Format: "duration", Help: "a clock that is further off warns"},
		}},
		{Name: "services", Type: "dict", Help: "services that start with the host, and those that do not; no others are touched", Fields: []Variable{
			{Name: "enabled", Type: "list", Elements: "str", Default: []any{}, Help: "started, now and with the host"},
			{Name: "disabled", Type: "list", Elements: "str", Default: []any{}, Help: "stopped and no longer started with the host, with the sockets, paths and timers that start them"},
			{Name: "masked", Type: "list", Elements: "str", Default: []any{}, Help: "the same, and not to be started by anything"},
		}},
		{Name: "firewall", Type: "dict", Help: "what the firewall lets in, through ufw or firewalld; ssh stays open, and every change is proved by a fresh login", Fields: []Variable{
			{Name: "allow", Type: "list", Elements: "raw", Default: []any{}, Help: "ports that are open: 443/tcp, 8000-8100/udp, or dictionaries", Fields: []Variable{
				{Name: "port", Type: "str", Required: true, Help: "port or range, and tcp or udp"},
				{Name: "from", Type: "str", Help: "the only address or network that may come; without it anywhere, by IPv4 and IPv6"},
			}},
			{Name: "policy", Type: "str", Default: PolicyKeep, Choices: []string{PolicyKeep, PolicyDeny}, Help: "keep leaves what no rule allows as it is on the host; deny shuts it out"},
			{Name: "enabled", Type: "bool", Help: "true makes a firewall active that is installed and is not"},
		}},
		{Name: "cache", Type: "dict", Help: "caches of the go command that the members of a group share", Fields: []Variable{
			{Name: "modcache", Type: "path", Help: "GOMODCACHE; not set, each user has its own"},
			{Name: "build", Type: "path", Help: "GOCACHE; not set, each user has its own"},
			{Name: "group", Type: "str", Required: true, Help: "whose members share them"},
			{Name: "mode", Type: "str", Default: defaultCacheMode, Help: "of the directories, in quotes"},
		}},
		{Name: "site_seed", Type: "raw", Help: "true on the host that hands archives to its site, or that host's name on the others"},
	}
}

// Reserved lists the names, without the prefix, that later parts will have.
func Reserved() []string { return append([]string(nil), reserved...) }
