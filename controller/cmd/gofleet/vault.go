package main

import (
	"context"
	"os"
	"slices"

	"github.com/spf13/pflag"

	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/report"
)

// vaultFlags say where vault passwords come from, with Ansible's names.
type vaultFlags struct {
	ids   []string
	files []string
	other []string // the same by its other name
	ask   bool
}

func (v *vaultFlags) add(f *pflag.FlagSet) {
	f.StringArrayVar(&v.ids, "vault-id", nil, "vault password of an id: `label@source`, where the source is a file, a program or prompt; repeats")
	f.StringArrayVar(&v.files, "vault-password-file", nil, "`file` with the vault password, or a program that prints it; repeats")
	f.StringArrayVar(&v.other, "vault-pass-file", nil, "the same as --vault-password-file")
	f.BoolVarP(&v.ask, "ask-vault-pass", "J", false, "ask for the vault password")
	f.BoolVar(&v.ask, "ask-vault-password", false, "the same as --ask-vault-pass")
	f.Lookup("vault-pass-file").Hidden = true
	f.Lookup("ask-vault-password").Hidden = true
}

// vaultOptions are the flags as the inventory wants them.
func (a *app) vaultOptions() inventory.VaultOptions {
	v := a.inventory.vault
	return inventory.VaultOptions{
		IDs: v.ids, PasswordFiles: slices.Concat(v.files, v.other), Ask: v.ask,
		Prompt: a.askSecret, Env: os.Environ(), Stderr: a.stderr,
	}
}

// askSecret asks on the terminal before a run has a view of its own.
func (a *app) askSecret(ctx context.Context, prompt string) (string, error) {
	ui, err := report.New(report.Options{Stdout: a.stdout, Stderr: a.stderr, Look: a.look()})
	if err != nil {
		return "", err
	}
	return ui.Ask(ctx, prompt, true)
}
