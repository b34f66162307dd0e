// Package secondary hands out the secondary ids of one host on one protocol endpoint.
package secondary
