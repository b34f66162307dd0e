// Package pace decides when value logs are worth collecting, and from which dead share of
// a file on, and how long writers wait when the journal fills. It knows nothing of files:
// whoever collects tells what there is and what came of it.
package pace
