// Package e2e takes a real file system image through a real client and back.
package e2e
