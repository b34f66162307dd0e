package complaints

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store/badger/values"
)

// Log passes on to the operator what Badger complains about: it has no other way to
// tell what goes wrong in its own goroutines, some of which try again for ever.
type Log struct {
	warn  func(message string)
	wrong chan struct{}          // capacity 1: an error came
	last  atomic.Pointer[string] // complaint

	Rewrites values.Rewrites // what it told of its collection
	Locks    values.Locks    // what it keeps locked
}

// New returns a Log that passes complaints to warn.
func New(warn func(string)) *Log {
	return &Log{warn: warn, wrong: make(chan struct{}, 1)}
}

func (l *Log) complain(format string, args []any) {
	message := "badger: " + strings.TrimSpace(fmt.Sprintf(format, args...))
	l.last.Store(&message)
	l.warn(message)
}

// Limits of warnings.
const (
	warningEvery = time.Minute // pause before the same one is passed on again
	warningsKept = 64          // to tell which is the same
)

// Sparing passes warnings on, but not the same one again and again: what fails is tried
// again as often as somebody waits for it.
func Sparing(warn func(string)) func(string) {
	var mu sync.Mutex
	told := map[string]time.Time{}
	return func(message string) {
		mu.Lock()
		now := time.Now()
		known := now.Sub(told[message]) < warningEvery
		if !known {
			if len(told) >= warningsKept {
				clear(told)
			}
			told[message] = now
		}
		mu.Unlock()
		if !known {
			warn(message)
		}
	}
}

// Errorf implements Badger's Logger.
func (l *Log) Errorf(format string, args ...any) {
	err := l.Locks.Errorf(format, args...) // first of all: others wait
	l.complain(format, args)
	if err != nil {
		l.warn("badger: " + err.Error())
	}
	select {
	case l.wrong <- struct{}{}:
	default:
	}
}

// Warningf implements Badger's Logger.
func (l *Log) Warningf(format string, args ...any) { l.complain(format, args) }

// Infof implements Badger's Logger.
func (l *Log) Infof(format string, args ...any) { l.Rewrites.Infof(format, args...) }

// Debugf implements Badger's Logger.
func (l *Log) Debugf(string, ...any) {}

// ErrAbandoned is a database that could not be closed.
var ErrAbandoned = errors.New("the database cannot write its files and is left as it is")

// Close closes Badger, which tries for ever to write out its memory table. When
// it complains while it closes, it is left to itself: its logs were synced by the last
// checkpoint, and the journal has the rest.
func (l *Log) Close(db *bdb.DB) error {
	select {
	case <-l.wrong: // of before
	default:
	}
	done := make(chan error, 1)
	go func() { done <- db.Close() }()
	select {
	case err := <-done:
		return err
	case <-l.wrong:
	}
	grace := time.NewTimer(closeGrace) // it may have complained of something else
	defer grace.Stop()
	select {
	case err := <-done:
		return err
	case <-grace.C:
		return fmt.Errorf("%w: %s", ErrAbandoned, *l.last.Load())
	}
}

// closeGrace is how long Badger may go on closing after it complained.
const closeGrace = 3 * time.Second
