package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gofleet/gofleet/agent/spec"
)

// takes is how many arguments a command has; most is -1 where there may be any
// number.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return hint(fmt.Errorf("%s lacks an argument", cmd.CommandPath()), "usage: "+cmd.UseLine())
		case most >= 0 && len(args) > most:
			return hint(fmt.Errorf("%s does not take %q", cmd.CommandPath(), args[most]), "usage: "+cmd.UseLine())
		}
		return nil
	}
}

// oneOf wants one of some flags, and no two.
func oneOf(cmd *cobra.Command, flags ...string) error {
	var given []string
	for _, f := range flags {
		if cmd.Flags().Changed(f) {
			given = append(given, "--"+f)
		}
	}
	all := "give one of --" + strings.Join(flags, ", --")
	switch len(given) {
	case 0:
		return hint(fmt.Errorf("%s needs to know what to do", cmd.CommandPath()), all)
	case 1:
		return nil
	}
	return hint(fmt.Errorf("%s cannot be given together", strings.Join(given, " and ")), all)
}

// badFlag says in gofleet's words what pflag finds wrong with a flag.
func badFlag(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		lacking *pflag.ValueRequiredError
		invalid *pflag.InvalidValueError
	)
	switch {
	case errors.As(err, &unknown):
		return unknownFlag(cmd, unknown)
	case errors.As(err, &lacking):
		return hint(fmt.Errorf("--%s needs a value", lacking.GetFlag().Name), describe(lacking.GetFlag()))
	case errors.As(err, &invalid):
		flag, cause := invalid.GetFlag(), invalid.Unwrap()
		var number *strconv.NumError
		if errors.As(cause, &number) {
			cause = fmt.Errorf("%q is no whole number", invalid.GetValue())
			if flag.Value.Type() == "bool" {
				cause = fmt.Errorf("%q is neither true nor false", invalid.GetValue())
			}
		}
		return hint(fmt.Errorf("--%s: %w", flag.Name, cause), describe(flag))
	}
	return err
}

// unknownFlag names the flag that was probably meant.
func unknownFlag(cmd *cobra.Command, e *pflag.NotExistError) error {
	way := fmt.Sprintf("gofleet help%s lists the flags", strings.TrimPrefix(cmd.CommandPath(), "gofleet"))
	if e.GetSpecifiedShortnames() != "" {
		return hint(fmt.Errorf("%s has no flag -%s", cmd.CommandPath(), e.GetSpecifiedName()), way)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if near := spec.Nearest(e.GetSpecifiedName(), names); near != "" {
		way = fmt.Sprintf("did you mean --%s? %s", near, way)
	}
	return hint(fmt.Errorf("%s has no flag --%s", cmd.CommandPath(), e.GetSpecifiedName()), way)
}

// ownHelp puts gofleet's words into the two commands that cobra brings, and has
// them refuse what they do not know: a file with the help of completion in place
// of a script would be noticed late.
func ownHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Use, cmd.Short, cmd.Long = "help [COMMAND]", "show the help of a command", "help shows the help of a command, as --help behind it does."
			cmd.Run, cmd.RunE = nil, func(_ *cobra.Command, args []string) error {
				of, rest, err := root.Find(args)
				if err == nil && len(rest) > 0 {
					err = takes(0, 0)(of, rest)
				}
				if err != nil {
					return err
				}
				of.InitDefaultHelpFlag()
				of.InitDefaultVersionFlag()
				return of.Help()
			}
		case "completion":
			cmd.Short, cmd.Long = "write the completion script of a shell", "completion writes what a shell needs to complete gofleet's commands, flags, hosts\nand groups. The help of each shell says how to load it."
			cmd.Args = takes(0, 0)
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			for _, shell := range cmd.Commands() {
				shell.Short = "write the completion script of " + shell.Name()
			}
		}
	}
}

// describe is a flag with what help says of it.
func describe(f *pflag.Flag) string {
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	value, usage := pflag.UnquoteUsage(f)
	return strings.TrimSpace(name+" "+value) + ": " + usage
}

// unknownCommand puts the command that was probably meant, which cobra has
// below its error, into a hint.
func unknownCommand(root *cobra.Command, err error) error {
	var name string
	if n, _ := fmt.Sscanf(err.Error(), "unknown command %q", &name); n == 0 {
		return err
	}
	way := "gofleet help lists the commands"
	if near := root.SuggestionsFor(name); len(near) > 0 {
		way = fmt.Sprintf("did you mean %s? %s", strings.Join(near, " or "), way)
	}
	return hint(fmt.Errorf("gofleet has no command %q", name), way)
}

// readable refuses a file that a flag names and that cannot be read: the hosts
// would say less clearly what comes of that.
func readable(flag, file string) error {
	path := file
	if rest, ok := strings.CutPrefix(file, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			path = filepath.Join(home, rest)
		}
	}
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		var st fs.FileInfo
		if st, err = f.Stat(); err == nil && st.IsDir() {
			err = errors.New("it is a directory")
		}
	}
	if err != nil {
		return fmt.Errorf("--%s %s: %w", flag, file, cause(err))
	}
	return nil
}

// cause is what went wrong with a file, without the act and the path.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
