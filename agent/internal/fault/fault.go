// Package fault gives tests a hand on the agent at given instants: to end it,
// to hold it there, or to hear that it came by. Only an agent built with the
// tag faultpoints has it; in every other one Hook is nil, and nothing on a
// host can make it act.
package fault

// Dir is where such an agent looks, on its host, at every point:
//
//	kill     the name of the point at which the agent kills itself
//	hold     the name of the point at which it waits until the file is gone;
//	         meanwhile there is a file "held"
//	trace    if there, the names of the points are added to it
const Dir = "/run/gofleet-fault"
