package pace

import "time"

// Shares of a journal from which on Brake pauses writers, and for how long.
const (
	brakeBacklog = 0.4
	brakeUsed    = 0.8
	brakeMost    = 20 * time.Millisecond // at a full journal
	brakeLeast   = 50 * time.Microsecond // shorter pauses are not worth a timer
)

// Brake is how long a group of writes waits before it goes into a journal, of which the share
// backlog waits to be drained, and the share used for that or for a checkpoint: in proportion
// to the square of the excess, so that writers slow down before they stop.
func Brake(backlog, used float64) time.Duration {
	excess := max((backlog-brakeBacklog)/(1-brakeBacklog), (used-brakeUsed)/(1-brakeUsed), 0)
	pause := time.Duration(excess * excess * float64(brakeMost))
	if pause <= brakeLeast {
		return 0
	}
	return pause
}
