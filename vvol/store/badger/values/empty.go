package values

import (
	"fmt"
	"os"

	"vvsim/vvol/store/badger/files"

	bdb "github.com/dgraph-io/badger/v4"
)

// Badger gives a value log back by rewriting it. It reads, copies and sums all of it, also what
// is known to be dead, and sets the values that the tree leads to anew in the version that they
// had. That brings back values whose keys are deleted between its look and its write: the
// deletion may reach the last level of the tree first, where it is dropped with what it hid. So
// what lives in a log is moved before Badger comes to it, while nobody else writes, and the
// checksum of its first entry is made wrong: there Badger stops to read, and deletes the log.

// survey is what lives in value logs that may be collected, by their number.
type survey map[uint32][]stray

// survey looks through the tree for what lives in the logs that are dead to a share or more.
// Nothing comes to live in them afterwards, as they are not written to any more.
func (l *Log) survey(from float64) (survey, error) {
	all, newest, err := l.discards()
	if err != nil {
		return nil, err
	}
	s := survey{}
	for _, d := range all {
		if d.File < newest && float64(d.Dead) >= from*float64(d.Size) {
			s[uint32(d.File)] = nil
		}
	}
	if len(s) == 0 {
		return s, nil
	}
	return s, l.each(func(one stray) error {
		if _, ok := s[one.at.file]; ok {
			s[one.at.file] = append(s[one.at.file], one)
		}
		return nil
	})
}

// discards are Badger's statistics, and the number of the newest log.
func (l *Log) discards() (all []files.Discard, newest uint64, err error) {
	if newest, err = l.files.NewestValueLog(); err == nil {
		all, err = l.files.Discards()
	}
	return all, newest, err
}

// next is the log that Badger would rewrite: the one of which most is dead, if that is such a
// share of it and it is not the newest; else 0.
func (l *Log) next(from float64) (uint32, error) {
	all, newest, err := l.discards()
	if err != nil {
		return 0, err
	}
	most := 0
	for i := range all {
		if all[i].Dead > all[most].Dead {
			most = i
		}
	}
	if len(all) == 0 || float64(all[most].Dead) < from*float64(all[most].Size) || all[most].File >= newest {
		return 0, nil
	}
	return uint32(all[most].File), nil
}

// empty moves what lives in the log that Badger would rewrite next, and ends the log. It fails
// with bdb.ErrNoRewrite when there is none that has been surveyed.
func (l *Log) empty(from float64, s survey) (moved uint64, err error) {
	file, err := l.next(from)
	if err != nil {
		return 0, err
	}
	left, ok := s[file]
	if !ok {
		return 0, bdb.ErrNoRewrite
	}
	f, err := os.Open(l.files.ValueLog(uint64(file)))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	m, err := l.moveAll(f, left)
	if err != nil {
		return 0, err
	}
	if m.damaged > 0 {
		l.o.Warn(fmt.Sprintf("value log %s is damaged at byte %d: %d values were moved, %d of them damaged", f.Name(), m.first, m.values, m.damaged))
		moved = m.values
	}
	return moved, l.end(file, len(left) > 0)
}

// end ends a log of which nothing is wanted, once that is on stable storage: before a sync, a
// power cut may take deletions and what was moved. One sync holds for all logs that were
// surveyed before it and in which nothing lived.
func (l *Log) end(file uint32, lived bool) error {
	if lived || !l.synced {
		if err := l.files.Sync(); err != nil {
			return err
		}
		l.synced = true
	}
	if !l.o.End {
		return nil
	}
	err := l.files.EndLog(uint64(file))
	if err == nil {
		l.ended = file
	}
	return err
}
