package line

import (
	"net"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

// Batch is what one writev carries. The zero value is empty.
type Batch struct {
	Parts net.Buffers
	Size  int // bytes of all PDUs without padding and digests
	// Reserved is what goes back to the connection's budget of reads.
	Reserved int64

	garbleHeader, garbleData bool // what is put next

	arena   []byte // headers, digests and small payloads; parts point into it
	release []*scsi.Buffer
}

// Appender is a PDU to send: AppendTo appends its header, its data follows.
type Appender interface{ AppendTo([]byte) []byte }

const (
	arenaSize = 8 << 10 // capacity of a batch's arena; more headers take another one
	copyLimit = 256     // up to how many bytes copying is cheaper than another vector element
)

var padding [3]byte

// reserve makes room for n bytes in the arena without moving what is there.
func (b *Batch) reserve(n int) {
	if cap(b.arena)-len(b.arena) < n {
		b.arena = make([]byte, 0, max(arenaSize, n))
	}
}

// add appends the bytes that f appends to the arena as one part.
func (b *Batch) add(n int, f func([]byte) []byte) {
	b.reserve(n)
	start := len(b.arena)
	b.arena = f(b.arena)
	b.extend(start)
}

// extend makes the arena from start on a part, or longer the last part if it
// ends there.
func (b *Batch) extend(start int) {
	piece := b.arena[start:len(b.arena):len(b.arena)]
	if k := len(b.Parts); k > 0 && start > 0 {
		last := b.Parts[k-1]
		if n := len(last); n > 0 && &last[n-1] == &b.arena[start-1] {
			b.Parts[k-1] = b.arena[start-n : len(b.arena) : len(b.arena)]
			return
		}
	}
	b.Parts = append(b.Parts, piece)
}

// Put adds one PDU with the digests that it has. data is borrowed until it is on
// the wire; small data is copied instead.
func (b *Batch) Put(p Appender, data []byte, headerDigest, dataDigest bool) {
	b.reserve(pdu.HeaderLength + pdu.DigestLength)
	start := len(b.arena)
	b.arena = p.AppendTo(b.arena)
	if headerDigest {
		d := pdu.Digest(b.arena[start:])
		if b.garbleHeader {
			b.garbleHeader = false
			d[0] ^= 1
		}
		b.arena = append(b.arena, d[:]...)
	}
	b.extend(start)
	b.Size += pdu.HeaderLength + len(data)
	if len(data) == 0 {
		return
	}
	pad := padding[:pdu.Pad(len(data))]
	if dataDigest && b.garbleData {
		b.putGarbled(data, pad)
		return
	}
	if len(data) <= copyLimit {
		b.add(len(data)+len(pad), func(a []byte) []byte { return append(append(a, data...), pad...) })
	} else {
		b.Parts = append(b.Parts, data)
		if len(pad) > 0 {
			b.Parts = append(b.Parts, pad)
		}
	}
	if dataDigest {
		d := pdu.Digest(data, pad)
		b.add(len(d), func(a []byte) []byte { return append(a, d[:]...) })
	}
}

// Garble has the next header with a digest, or the next data with one, disagree with it.
func (b *Batch) Garble(header, data bool) { b.garbleHeader, b.garbleData = header, data }

// putGarbled adds data of which a bit is flipped, and the digest that they had.
func (b *Batch) putGarbled(data, pad []byte) {
	b.garbleData = false
	d := pdu.Digest(data, pad)
	b.add(len(data)+len(pad)+len(d), func(a []byte) []byte {
		at := len(a)
		a = append(append(append(a, data...), pad...), d[:]...)
		a[at] ^= 1
		return a
	})
}

// Own has the batch release a buffer whose bytes it has borrowed. nil is allowed.
func (b *Batch) Own(r *scsi.Buffer) {
	if r != nil {
		b.release = append(b.release, r)
	}
}

// Length is how many bytes go to the socket.
func (b *Batch) Length() (n int) {
	for _, p := range b.Parts {
		n += len(p)
	}
	return n
}

// Cut gives the first n bytes of a longer batch away, as a batch that owns nothing; false
// when there are no more, or n is 0.
func (b *Batch) Cut(n int, give func(*Batch, int)) bool {
	if n == 0 || b.Length() <= n {
		return false
	}
	first := &Batch{}
	for left := n; left > 0; {
		p := b.Parts[0]
		k := min(left, len(p))
		first.Parts = append(first.Parts, p[:k])
		left -= k
		if b.Parts[0] = p[k:]; k == len(p) {
			b.Parts = b.Parts[1:]
		}
	}
	give(first, n)
	return true
}

// Clear releases what the batch owns and empties it.
func (b *Batch) Clear() {
	for i := range b.release {
		b.release[i].Release()
		b.release[i] = nil
	}
	clear(b.Parts)
	b.Parts, b.release, b.arena, b.Size, b.Reserved = b.Parts[:0], b.release[:0], b.arena[:0], 0, 0
}
