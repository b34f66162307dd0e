package pe

import (
	"encoding/binary"
	"encoding/hex"

	"vvsim/vvol"
)

// companyID stands where an IEEE company identifier would (SPC-4 7.8.6.6.5). Its
// locally administered bit is set, so that it collides with no vendor's.
const companyID = 0x027676

// NAA is an NAA IEEE Registered Extended designator (SPC-4 7.8.6.6.5), 16 bytes.
type NAA [16]byte

// String is ESXi's device name: "naa." and 32 lower-case hex digits (vasa.md 5).
func (n NAA) String() string { return "naa." + hex.EncodeToString(n[:]) }

// newNAA builds a designator of the array (36 bits count) and an extension that
// is unique within it.
func newNAA(array, extension uint64) (n NAA) {
	binary.BigEndian.PutUint64(n[:], 6<<60|companyID<<36|array&(1<<36-1))
	binary.BigEndian.PutUint64(n[8:], extension)
	return n
}

// endpointExtension keeps the numbers of protocol endpoints apart from those of volumes.
const endpointExtension = 1 << 63

// VolumeNAA is the designator of a volume's logical unit, the same through every
// path and for ever.
func VolumeNAA(array uint64, v vvol.VirtualVolume) NAA { return newNAA(array, v.Serial) }

// EndpointNAA is the designator of the protocol endpoint at a LUN.
func EndpointNAA(array uint64, lun uint16) NAA { return newNAA(array, endpointExtension|uint64(lun)) }
