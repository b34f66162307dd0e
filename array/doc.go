// Package array assembles an array from its configuration: engine, catalog,
// protocol endpoints, portals and control API, and runs them as one group that
// starts, drains and stops in order. It is the only package that knows all
// others; nothing in it is protocol or storage logic.
//
// Start-up: lock and open the engine, load the catalog and finish its intents,
// publish routes, then open the doors (portals, API). Shutdown is the mirror:
// close the doors, ask initiators to log out, drain with a deadline, flush, close.
package array
