package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/controller/internal/inventory"
)

// inventoryCommand shows an inventory as ansible-inventory does.
func (a *app) inventoryCommand() *cobra.Command {
	var list, graph, vars, export, asYAML bool
	var host, hosts string
	cmd := &cobra.Command{
		Use:   "inventory -i INVENTORY --list | --graph | --host HOST | --hosts PATTERN",
		Short: "show hosts, groups and variables, as ansible-inventory does",
		Long: `inventory shows what gofleet reads from an inventory: the same JSON and text as
ansible-inventory prints for the same files.`,
		Example: `  gofleet inventory -i inventory.yaml --graph
  gofleet inventory -i inventory.yaml --list
  gofleet inventory -i hosts.ini --list --yaml
  gofleet inventory -i inventory.yaml --host web01
  gofleet inventory -i inventory.yaml --hosts 'web:&prod:!web03'`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf(cmd, "list", "graph", "host", "hosts"); err != nil {
				return err
			}
			inv, err := a.loadInventory(cmd)
			if err != nil {
				return err
			}
			var out string
			switch {
			case list:
				var b []byte
				o := inventory.ListOptions{Limit: a.inventory.limit, Export: export}
				show := inv.ListJSON
				if asYAML {
					show = inv.ListYAML
				}
				b, err = show(o)
				out = string(b)
			case graph:
				group := ""
				if len(args) == 1 {
					group = args[0]
				}
				out, err = inv.GraphText(group, vars)
			case cmd.Flags().Changed("host"):
				var b []byte
				show := inv.HostJSON
				if asYAML {
					show = inv.HostYAML
				}
				b, err = show(host, inventory.Current)
				out = string(b)
			default:
				out, err = inv.HostsText(hosts, a.inventory.limit)
			}
			a.sayWarnings(inv)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(a.stdout, out)
			return err
		},
	}
	a.addInventory(cmd)
	f := cmd.Flags()
	f.BoolVar(&list, "list", false, "all hosts, groups and variables as JSON")
	f.BoolVar(&export, "export", false, "with --list: variables where they are set, not merged")
	f.BoolVarP(&asYAML, "yaml", "y", false, "with --list or --host: YAML in place of JSON")
	f.BoolVar(&graph, "graph", false, "the tree of groups; an argument names the group to begin with")
	f.BoolVar(&vars, "vars", false, "with --graph: variables too")
	f.StringVar(&host, "host", "", "the variables of one `host` as JSON")
	f.StringVar(&hosts, "hosts", "", "the hosts that a `pattern` matches")
	cmd.ValidArgsFunction = noFiles
	complete(cmd, "host", a.completeNames(false))
	complete(cmd, "hosts", a.completeNames(true))
	return cmd
}
