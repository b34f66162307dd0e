// Package scenario holds stories over a whole array in process: configuration,
// engine, catalog, protocol endpoints, portals and API, seen by our own initiator
// and HTTP client.
package scenario
