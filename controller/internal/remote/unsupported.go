package remote

import "slices"

// setAside are the options that change nothing for a program that runs one
// command, forwards nothing, shares no socket with ssh and logs in with keys,
// each with the reason. They are left out silently.
var setAside = map[string]string{
	"addkeystoagent":                   asksOnce,
	"batchmode":                        asksNothing,
	"canonicaldomains":                 canonical,
	"canonicalizefallbacklocal":        canonical,
	"canonicalizemaxdots":              canonical,
	"canonicalizepermittedcnames":      canonical,
	"challengeresponseauthentication":  keysOnly,
	"clearallforwardings":              forwardsNothing,
	"compression":                      "archives are compressed already",
	"compressionlevel":                 "archives are compressed already",
	"controlmaster":                    ownConnection,
	"controlpath":                      ownConnection,
	"controlpersist":                   ownConnection,
	"dynamicforward":                   forwardsNothing,
	"enableescapecommandline":          noSession,
	"enablesshkeysign":                 keysOnly,
	"escapechar":                       noSession,
	"exitonforwardfailure":             forwardsNothing,
	"fingerprinthash":                  "messages show SHA256 fingerprints",
	"forkafterauthentication":          noSession,
	"forwardagent":                     forwardsNothing,
	"forwardx11":                       forwardsNothing,
	"forwardx11timeout":                forwardsNothing,
	"forwardx11trusted":                forwardsNothing,
	"gatewayports":                     forwardsNothing,
	"gssapiauthentication":             keysOnly,
	"gssapiclientidentity":             keysOnly,
	"gssapidelegatecredentials":        keysOnly,
	"gssapikexalgorithms":              keysOnly,
	"gssapikeyexchange":                keysOnly,
	"gssapirenewalforcesrekey":         keysOnly,
	"gssapiserveridentity":             keysOnly,
	"gssapitrustdns":                   keysOnly,
	"hostbasedacceptedalgorithms":      keysOnly,
	"hostbasedacceptedkeytypes":        keysOnly,
	"hostbasedauthentication":          keysOnly,
	"hostbasedkeytypes":                keysOnly,
	"ipqos":                            "it marks packets",
	"kbdinteractiveauthentication":     keysOnly,
	"kbdinteractivedevices":            keysOnly,
	"localcommand":                     "it needs PermitLocalCommand",
	"localforward":                     forwardsNothing,
	"loglevel":                         ownMessages,
	"logverbose":                       ownMessages,
	"nohostauthenticationforlocalhost": "host keys are always checked",
	"numberofpasswordprompts":          keysOnly,
	"obscurekeystroketiming":           noSession,
	"passwordauthentication":           keysOnly,
	"permitremoteopen":                 forwardsNothing,
	"protocol":                         obsolete,
	"rekeylimit":                       "keys are renewed as each cipher needs it",
	"remoteforward":                    forwardsNothing,
	"rhostsrsaauthentication":          obsolete,
	"rsaauthentication":                obsolete,
	"sendenv":                          ownEnvironment,
	"setenv":                           ownEnvironment,
	"skeyauthentication":               keysOnly,
	"stdinnull":                        noSession,
	"streamlocalbindmask":              forwardsNothing,
	"streamlocalbindunlink":            forwardsNothing,
	"syslogfacility":                   ownMessages,
	"tcpkeepalive":                     "ServerAliveInterval notices more",
	"tunnel":                           forwardsNothing,
	"tunneldevice":                     forwardsNothing,
	"updatehostkeys":                   "no key is recorded that nobody has confirmed",
	"usekeychain":                      asksOnce,
	"useprivilegedport":                obsolete,
	"useroaming":                       obsolete,
	"versionaddendum":                  ownMessages,
	"visualhostkey":                    ownMessages,
	"warnweakcrypto":                   ownMessages,
	"xauthlocation":                    forwardsNothing,
}

const (
	asksOnce        = "a passphrase is asked for once a run"
	asksNothing     = "nothing but a passphrase is ever asked for"
	canonical       = "it needs CanonicalizeHostname"
	forwardsNothing = "nothing is forwarded"
	keysOnly        = "login is with keys only"
	noSession       = "no session for people is opened"
	obsolete        = "ssh itself ignores it"
	ownConnection   = "one connection a host is used anyway"
	ownEnvironment  = "the agent takes no environment from the login"
	ownMessages     = "it changes what ssh prints"
)

// unsupportedOption would change something, but is not there.
type unsupportedOption struct {
	idle []string // the values at which it changes nothing
	why  string   // and what to do instead
}

// unsupportedOptions are named with file and line wherever they are set to
// anything that matters.
var unsupportedOptions = map[string]unsupportedOption{
	"bindinterface":        {nil, "give the interface's address as BindAddress"},
	"canonicalizehostname": {[]string{"no", "none"}, "names are looked up as they are; write the full name as HostName"},
	"channeltimeout":       {[]string{"none"}, "ServerAliveInterval ends a silent connection"},
	"checkhostip":          {[]string{"no"}, "known_hosts is asked for the name only"},
	"knownhostscommand":    {[]string{"none"}, "write what it prints into a UserKnownHostsFile"},
	"permitlocalcommand":   {[]string{"no"}, "no LocalCommand is run"},
	"pkcs11provider":       {[]string{"none"}, "add the token's keys to ssh-agent with ssh-add -s"},
	"proxyusefdpass":       {[]string{"no"}, "a ProxyCommand talks on stdin and stdout"},
	"remotecommand":        {[]string{"none"}, "the one command that runs is the agent's"},
	"securitykeyprovider":  {[]string{"internal"}, "security keys work through ssh-agent"},
	"sessiontype":          {[]string{"default"}, "the agent needs a session"},
	"verifyhostkeydns":     {[]string{"no"}, "record the key in known_hosts"},
}

// unsupported says why an option is not supported, or nothing where it may be
// left out silently.
func (o *options) unsupported(l configLine) (why string) {
	if _, ok := setAside[l.keyword]; ok {
		return ""
	}
	u, known := unsupportedOptions[l.keyword]
	switch {
	case known && len(l.args) == 1 && slices.Contains(u.idle, l.args[0]):
		return ""
	case known:
		return u.why
	case patternList(o.ignoreUnknown, l.keyword):
		return ""
	}
	return "gofleet does not know it; IgnoreUnknown silences this"
}
