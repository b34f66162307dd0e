// Package loss answers for a logical unit that is gone for good, with the sense data that
// hosts take for that.
package loss
