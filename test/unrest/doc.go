// Package unrest is what tests throw at an array to see that nothing is left of it: rules of
// failures with every action that there is (Any), and hosts that use the provider meanwhile
// (Tenant), whose life shows afterwards that it is as before.
package unrest
