package vvol

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"vvsim/vvol/secondary"
	"vvsim/vvol/store"
)

// catalogVersion is the version of the rows below; Open refuses a newer one.
const catalogVersion = 1

// Prefixes of keys; see the package comment for the layout. Meta is shared with
// other packages, which have prefixes of their own.
const (
	prefixRows        = "vvol/"
	prefixFormat      = prefixRows + "f"
	prefixCounters    = prefixRows + "n"
	prefixContainer   = prefixRows + "c/"
	prefixPool        = prefixRows + "p/"
	prefixVolume      = prefixRows + "v/"
	prefixBinding     = prefixRows + "b/"
	prefixHost        = prefixRows + "h/"
	prefixLUN         = prefixRows + "l/"
	prefixReservation = prefixRows + "r/"
	prefixTask        = prefixRows + "t/"
	prefixEvent       = prefixRows + "e/"
)

// record is one row: where it is kept, and what it means to the index. put and
// drop are called with the catalog's lock held.
type record interface {
	key() string
	encode() ([]byte, error)
	put(c *catalog)
	drop(c *catalog)
}

// formatRow says what the rows are and whose.
type formatRow struct {
	Version int    `json:"version"`
	ArrayID string `json:"arrayId"`
}

// counters are numbers never handed out twice.
type counters struct {
	Binding BindingID `json:"binding"` // last used ones
	Serial  uint64    `json:"serial"`
	Task    uint64    `json:"task"`
	Event   uint64    `json:"event"`
}

type containerRow struct{ StorageContainer }

// poolRow is the space of one thick volume: its own pool in the engine, named
// after the volume that got it. It outlives the volume as long as clones or
// snapshots hold layers of it.
type poolRow struct {
	ID        ID          `json:"id"`
	Container ContainerID `json:"container"`
}

// volumeRow is a VirtualVolume and what only the catalog needs. Rows are never
// changed once they are in the catalog; an update replaces them.
type volumeRow struct {
	VirtualVolume
	Pool       ID      `json:"pool,omitzero"`  // of a thick volume and its snapshots; else the container's
	Generation uint64  `json:"generation"`     // counts reverts
	Asked      Quality `json:"asked,omitzero"` // by the policy, when it was set
	Intent     *intent `json:"intent,omitempty"`
}

// intent is what an operation under way wants, in the rows of states other than
// Ready and Prepared.
type intent struct {
	Task     uint64         `json:"task,omitempty"`
	Snapshot ID             `json:"snapshot,omitzero"`  // Reverting: to this
	Size     uint64         `json:"sizeBytes,omitzero"` // Reverting and Resizing: to this
	After    *VirtualVolume `json:"after,omitempty"`    // Converting: to this, with what its policy asked
	Asked    Quality        `json:"asked,omitzero"`
	Before   *VirtualVolume `json:"before,omitempty"` // Creating: the Prepared one it was and becomes again when undone
}

type bindingRow struct{ Binding }

type hostRow struct{ Host }

type lunRow struct{ LUNMapping }

// reservationRow holds the persistent reservations of a logical unit, opaque
// here. Name is the text of a volume's or endpoint's id.
type reservationRow struct {
	Name string
	Data []byte
}

type taskRow struct {
	Task
	Number uint64 `json:"number"`
}

type eventRow struct{ Event }

func idKey(prefix string, id ID) string { return prefix + string(id[:]) }

func numberKey(prefix string, n uint64) string {
	return prefix + string(binary.BigEndian.AppendUint64(nil, n))
}

func (r *formatRow) key() string      { return prefixFormat }
func (r *counters) key() string       { return prefixCounters }
func (r *containerRow) key() string   { return idKey(prefixContainer, ID(r.ID)) }
func (r *poolRow) key() string        { return idKey(prefixPool, r.ID) }
func (r *volumeRow) key() string      { return idKey(prefixVolume, r.ID) }
func (r *bindingRow) key() string     { return numberKey(prefixBinding, uint64(r.ID)) }
func (r *hostRow) key() string        { return prefixHost + string(r.ID) }
func (r *lunRow) key() string         { return numberKey(prefixLUN, uint64(r.LUN)) }
func (r *reservationRow) key() string { return prefixReservation + r.Name }
func (r *taskRow) key() string        { return numberKey(prefixTask, r.Number) }
func (r *eventRow) key() string       { return numberKey(prefixEvent, r.Serial) }

func (r *formatRow) encode() ([]byte, error)      { return json.Marshal(r) }
func (r *counters) encode() ([]byte, error)       { return json.Marshal(r) }
func (r *containerRow) encode() ([]byte, error)   { return json.Marshal(r) }
func (r *poolRow) encode() ([]byte, error)        { return json.Marshal(r) }
func (r *volumeRow) encode() ([]byte, error)      { return json.Marshal(r) }
func (r *bindingRow) encode() ([]byte, error)     { return json.Marshal(r) }
func (r *hostRow) encode() ([]byte, error)        { return json.Marshal(r) }
func (r *lunRow) encode() ([]byte, error)         { return json.Marshal(r) }
func (r *reservationRow) encode() ([]byte, error) { return r.Data, nil }
func (r *taskRow) encode() ([]byte, error)        { return json.Marshal(r) }
func (r *eventRow) encode() ([]byte, error)       { return json.Marshal(r) }

// emptyRecord returns a record of the kind that key names.
func emptyRecord(key string) (record, error) {
	prefix := key[:min(len(key), len(prefixContainer))]
	switch prefix {
	case prefixFormat:
		return &formatRow{}, nil
	case prefixCounters:
		return &counters{}, nil
	case prefixContainer:
		return &containerRow{}, nil
	case prefixPool:
		return &poolRow{}, nil
	case prefixVolume:
		return &volumeRow{}, nil
	case prefixBinding:
		return &bindingRow{}, nil
	case prefixHost:
		return &hostRow{}, nil
	case prefixLUN:
		return &lunRow{}, nil
	case prefixReservation:
		return &reservationRow{Name: key[len(prefixReservation):]}, nil
	case prefixTask:
		return &taskRow{}, nil
	case prefixEvent:
		return &eventRow{}, nil
	}
	return nil, fmt.Errorf("%w: catalog has a key %q that this version does not know", ErrStorage, key)
}

// decodeRow reads one row. The result shares no memory with value.
func decodeRow(key string, value []byte) (record, error) {
	r, err := emptyRecord(key)
	if err != nil {
		return nil, err
	}
	if res, ok := r.(*reservationRow); ok {
		res.Data = append([]byte{}, value...)
		return res, nil
	}
	if err := json.Unmarshal(value, r); err != nil {
		return nil, fmt.Errorf("%w: catalog row %q: %w", ErrStorage, key, err)
	}
	if r.key() != key {
		return nil, fmt.Errorf("%w: catalog row %q belongs at %q", ErrStorage, key, r.key())
	}
	if what := damaged(r); what != "" {
		return nil, fmt.Errorf("%w: catalog row %q: %s", ErrStorage, key, what)
	}
	return r, nil
}

// damaged says what makes a row unusable, so that the index can rely on the rest.
func damaged(r record) string {
	switch r := r.(type) {
	case *containerRow:
		if len(r.ServiceLevels) == 0 || r.Size == 0 {
			return "no service level or no size"
		}
	case *volumeRow:
		if settled := r.State == Ready || r.State == Prepared; settled != (r.Intent == nil) {
			return fmt.Sprintf("state %q and intent do not fit", r.State)
		}
	case *bindingRow:
		if r.Secondary < 1 || r.Secondary > secondary.Max {
			return fmt.Sprintf("secondary id %d", r.Secondary)
		}
	}
	return ""
}

// loadRows calls put for every row of the catalog but format.
func loadRows(tx store.MetaTx, put func(record)) error {
	for _, prefix := range []string{prefixCounters, prefixContainer, prefixPool, prefixVolume, prefixHost,
		prefixBinding, prefixLUN, prefixTask, prefixEvent, prefixReservation} {
		for k, v := range tx.Scan([]byte(prefix)) {
			r, err := decodeRow(string(k), v)
			if err != nil {
				return err
			}
			put(r)
		}
	}
	return nil
}
