package toolchain

// FaultPoints lists where Store.Fault is called, in the order of the code. A
// test ends the process at each and proves that the next run succeeds.
func FaultPoints() []string {
	return []string{
		"sweep.completed",
		"gather.made", "gather.half", "gather.done",
		"receive.staged", "receive.opened",
		"extract.made", "extract.half", "extract.done",
		"commit.prepared", "commit.renamed", "commit.synced", "commit.recorded",
		"repair.synced", "repair.exchanged", "repair.recorded", "mend.half",
		"switch.recorded", "switch.linked",
		"exchange.prepared", "exchange.done",
		"aside.intended", "aside.moved", "aside.linked",
		"copy.intended", "copy.copied", "copy.confirmed", "copy.forwarded", "copy.emptied", "copy.removed",
		"rollback.forgotten",
		"remove.forgotten", "remove.moved", "remove.unlinked",
	}
}
