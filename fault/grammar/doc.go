// Package grammar reads the words of a fault rule and the values in them. It knows of no
// conditions and no actions.
package grammar
