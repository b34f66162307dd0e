package badger

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	bdb "github.com/dgraph-io/badger/v4"
)

// badgerLog passes on to the operator what Badger complains about: it has no other way to
// tell what goes wrong in its own goroutines, some of which try again for ever.
type badgerLog struct {
	warn  func(message string)
	wrong chan struct{} // capacity 1: an error came

	mu   sync.Mutex
	last string // the last complaint, at a time
	at   time.Time
}

// complaintEvery is the pause before the same complaint is passed on again.
const complaintEvery = time.Minute

func newBadgerLog(warn func(string)) *badgerLog {
	return &badgerLog{warn: warn, wrong: make(chan struct{}, 1)}
}

func (l *badgerLog) complain(format string, args []any) {
	message := strings.TrimSpace(fmt.Sprintf(format, args...))
	l.mu.Lock()
	known := message == l.last && time.Since(l.at) < complaintEvery
	if !known {
		l.last, l.at = message, time.Now()
	}
	l.mu.Unlock()
	if !known {
		l.warn("badger: " + message)
	}
}

// Errorf implements Badger's Logger.
func (l *badgerLog) Errorf(format string, args ...any) {
	l.complain(format, args)
	select {
	case l.wrong <- struct{}{}:
	default:
	}
}

// Warningf implements Badger's Logger.
func (l *badgerLog) Warningf(format string, args ...any) { l.complain(format, args) }

// Infof implements Badger's Logger.
func (l *badgerLog) Infof(string, ...any) {}

// Debugf implements Badger's Logger.
func (l *badgerLog) Debugf(string, ...any) {}

// errAbandoned is a database that could not be closed.
var errAbandoned = errors.New("the database cannot write its files and is left as it is")

// closeDatabase closes Badger, which tries for ever to write out its memory table. When
// it complains while it closes, it is left to itself: its logs were synced by the last
// checkpoint, and the journal has the rest.
func (l *badgerLog) closeDatabase(db *bdb.DB) error {
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
		l.mu.Lock()
		defer l.mu.Unlock()
		return fmt.Errorf("%w: %s", errAbandoned, l.last)
	}
}

// closeGrace is how long Badger may go on closing after it complained.
const closeGrace = 3 * time.Second
