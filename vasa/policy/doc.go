// Package policy translates between the service levels of the domain and VASA's storage
// policies (vasa.md 7.2): the schema of what a policy may ask for, the profile that each
// service level is offered as, what a policy asks for as the domain understands it, and
// what is out of compliance. Pure functions; all of it follows from one table of
// capabilities.
//
// A service level of a container is a capability profile. Its values are what a volume may
// ask for: a range up to a limit, a set of durabilities, the level's own name, thin or
// thick. A policy that a client hands over asks for single values. Of a range in a policy
// the upper end counts, of a set with one value that value. Rule sets of a policy
// (subProfiles) are alternatives: Read gives them in their order. Capabilities of other
// namespaces are not ours to judge and are passed over, but for vSphere's own
// spaceEfficiency.
package policy
