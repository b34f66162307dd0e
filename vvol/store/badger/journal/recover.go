package journal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Recover finds the groups behind the checkpoint and sets the head behind the last
// one that is whole. A group of an earlier epoch behind one of a later is what was
// there before an unclean end that lost it.
//
// An unclean end loses only what was not on stable storage. Recover fails with
// ErrCorrupt when the groups end before a page that the checkpoint, or a whole group
// anywhere in the ring, says was there: then the disk lost what a flush covered, and to
// go on would overwrite what is left behind it.
func (j *Ring) Recover() (all []Group, err error) {
	position, epoch := j.head.Load(), j.before
	for position-j.tail.Load() < j.pages {
		i := position % j.pages * PageSize
		g, err := decodeGroup(j.ring[i:], j.sums[position%j.pages:], j.id, position, j.sequence)
		if err != nil || g.Epoch < epoch || g.End-j.tail.Load() > j.pages {
			break
		}
		position, epoch = g.End, g.Epoch
		j.sequence++
		all = append(all, g)
	}
	stable, err := j.wasStable(position)
	if err != nil {
		return nil, err
	}
	if stable > position {
		return nil, fmt.Errorf("%w: %s is damaged at byte %d: no whole group stands there, though %d bytes from there on were on stable storage",
			ErrCorrupt, j.f.Name(), position%j.pages*PageSize, (stable-position)*PageSize)
	}
	j.head.Store(position)
	j.stable.Store(j.tail.Load())
	j.epoch = max(j.epoch, epoch) + 1
	j.uncache()
	return all, nil
}

// uncache gives back the memory of what was looked through and holds no group: the kernel
// reads ahead in pieces of up to 2 MiB, of which each later write would go through all
// blocks (see writeBytes).
func (j *Ring) uncache() {
	head, tail := j.head.Load()%j.pages*PageSize, j.tail.Load()%j.pages*PageSize
	if head < tail || j.Used() == j.pages {
		j.uncacheRange(head, tail)
		return
	}
	j.uncacheRange(0, tail)
	j.uncacheRange(head, j.pages*PageSize)
}

// uncacheRange is uncache for some bytes. Pages that were not written out stay. A kernel that
// will not do it costs speed alone.
func (j *Ring) uncacheRange(from, to uint64) {
	if from < to {
		_ = unix.Madvise(j.ring[from:to], unix.MADV_DONTNEED)
		_ = unix.Fadvise(int(j.f.Fd()), int64(from), int64(to-from), unix.FADV_DONTNEED)
	}
}

// wasStable is the highest page before which all was on stable storage, if that is
// behind the end of the groups. Any whole group of the ring tells the truth about that,
// also one that was overwritten in part or stands behind a lost one: pages are counted
// on forever, and no group is appended before what was stable.
func (j *Ring) wasStable(end uint64) (stable uint64, err error) {
	stable = max(end, j.claimed)
	if j.closed {
		return stable, nil
	}
	err = j.eachWritten(func(page uint64) {
		b := j.ring[page*PageSize:]
		if binary.BigEndian.Uint32(b) != groupMagic || binary.BigEndian.Uint64(b[48:]) <= stable {
			return
		}
		position := binary.BigEndian.Uint64(b[24:])
		if position%j.pages != page {
			return
		}
		if g, err := decodeGroup(b, j.sums[page:], j.id, position, binary.BigEndian.Uint64(b[16:])); err == nil {
			stable = g.Stable
		}
	})
	return stable, err
}

// eachWritten calls f for each page of the file, less those that the file system knows
// were never written. What the kernel reads ahead counts as written, also where nothing is: so
// the file system is asked for all of it before the first page is looked at, which would
// drag all others along.
func (j *Ring) eachWritten(f func(page uint64)) error {
	type span struct{ from, to int64 } // bytes
	var all []span
	size := int64(j.pages) * PageSize
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(j.f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		hole := size
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTSUP):
			data = at // no such system call here: all of it
		case err != nil:
			return fmt.Errorf("lseek %s: %w", j.f.Name(), err)
		default:
			if hole, err = unix.Seek(int(j.f.Fd()), data, unix.SEEK_HOLE); err != nil {
				return fmt.Errorf("lseek %s: %w", j.f.Name(), err)
			}
		}
		all = append(all, span{data, min(hole, size)})
		at = max(hole, at+PageSize)
	}
	for _, s := range all {
		for page := s.from / PageSize; page*PageSize < s.to; page++ {
			f(uint64(page))
		}
	}
	return nil
}
