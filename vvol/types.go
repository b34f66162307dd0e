package vvol

import (
	"context"
	"fmt"
	"strings"
	"time"

	"vvsim/vvol/alarm"
	"vvsim/vvol/store"
)

// ID is the id of a virtual volume. One id space holds volumes, clones and snapshots.
type ID store.ID

const idPrefix = "rfc4122."

// String is the id as VASA writes it: "rfc4122." and a lower-case UUID (vasa.md 5).
func (id ID) String() string { return idPrefix + store.ID(id).String() }

// ParseID reads an id with or without its prefix. The error is ErrInvalid.
func ParseID(s string) (ID, error) {
	id, err := store.ParseID(strings.TrimPrefix(s, idPrefix))
	if err != nil {
		return ID{}, fmt.Errorf("%w: vvol id %q", ErrInvalid, s)
	}
	return ID(id), nil
}

// MarshalText and UnmarshalText let an ID stand in JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}

// ContainerID is the UUID of a storage container, printed without a prefix.
type ContainerID store.ID

func (id ContainerID) String() string { return store.ID(id).String() }

func (id ContainerID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

func (id *ContainerID) UnmarshalText(b []byte) error {
	v, err := store.ParseID(string(b))
	*id = ContainerID(v)
	return err
}

// Type is a VVol's type, spelled as VASA spells it.
type Type string

const (
	Config Type = "Config"
	Data   Type = "Data"
	Swap   Type = "Swap"
	Memory Type = "Memory"
	Other  Type = "Other"
)

// StorageContainer is a pool of space in which VVols live.
type StorageContainer struct {
	ID            ContainerID    `json:"id"`
	Name          string         `json:"name"`
	Size          uint64         `json:"sizeBytes"`
	ServiceLevels []ServiceLevel `json:"serviceLevels"` // at least one; the first is the default
	Created       time.Time      `json:"created"`
}

// ContainerUsage is measured, not stored.
type ContainerUsage struct {
	Used     uint64 // bytes held on behalf of the container's volumes, shared data once
	Logical  uint64 // sum of the volumes' allocated bytes, as if nothing were shared
	Reserved uint64 // part of Used that thick volumes hold without having written it
	Volumes  int

	// WarnPercent is from how much of the container its space alarm comes: the lowest of its
	// levels and volumes, 0 when there is none.
	WarnPercent int
}

// State of a virtual volume; see the package comment.
type State string

const (
	Creating   State = "Creating"
	Prepared   State = "Prepared"
	Ready      State = "Ready"
	Reverting  State = "Reverting"
	Resizing   State = "Resizing"
	Converting State = "Converting"
	Deleting   State = "Deleting"
)

// VirtualVolume is the catalog's row of one VVol.
type VirtualVolume struct {
	ID           ID                `json:"id"`
	Name         string            `json:"name"` // free text, need not be unique; CLI and rules accept it when it is
	Type         Type              `json:"type"`
	Container    ContainerID       `json:"container"`
	Size         uint64            `json:"sizeBytes"`
	State        State             `json:"state"`
	ServiceLevel string            `json:"serviceLevel"`
	Quality      Quality           `json:"quality,omitzero"`    // what it has; see PolicySpec
	Policy       Policy            `json:"policy,omitzero"`     // where that came from
	Parent       ID                `json:"parent,omitzero"`     // the volume a snapshot or fast clone was taken of
	SnapshotOf   ID                `json:"snapshotOf,omitzero"` // set for snapshots
	ReadOnly     bool              `json:"readOnly,omitempty"`
	Metadata     map[string]string `json:"metadata,omitempty"`
	Created      time.Time         `json:"created"`
	Serial       uint64            `json:"serial"` // small number unique in the array, basis of the NAA designator
}

// HostID names a host: by its GUID once that was declared, before by the name of its
// initiator.
type HostID string

// Host is a row that lists the initiators of one host.
type Host struct {
	ID         HostID    `json:"id"`
	GUID       string    `json:"guid,omitempty"` // as DeclareHost gave it; empty for a host known by iSCSI alone
	Initiators []string  `json:"initiators"`     // iSCSI names
	FirstSeen  time.Time `json:"firstSeen"`
}

// PEID is the NAA name of a protocol endpoint, "naa." and 32 hex digits.
type PEID string

// ProtocolEndpoint is an administrative logical unit. Endpoints come from the
// configuration and are the same on all portals.
type ProtocolEndpoint struct {
	ID   PEID   `json:"id"`
	Name string `json:"name"`
	LUN  uint16 `json:"lun"`
}

// BindingID numbers bindings; never reused.
type BindingID uint64

// Binding gives one host access to one VVol through one protocol endpoint. A
// host has at most one binding of a VVol.
type Binding struct {
	ID         BindingID `json:"id"`
	VVol       ID        `json:"vvol"`
	Host       HostID    `json:"host"`
	PE         PEID      `json:"pe"`
	Secondary  uint64    `json:"secondary"`  // subsidiary id, from 1; unique per PE and host
	Generation uint64    `json:"generation"` // of the volume at the time of binding
	Created    time.Time `json:"created"`
}

// LUNMapping is a flat alias: an ordinary LUN of every host, for initiators that
// know no subsidiary LUNs.
type LUNMapping struct {
	LUN  uint16 `json:"lun"`
	VVol ID     `json:"vvol"`
}

// Endpoints is the only way in which control reaches the data path; package pe
// implements it. Calls for one volume come one at a time.
type Endpoints interface {
	// Attach opens the volume, publishes the route and raises the unit attention of
	// a new binding. initiators are the names of the binding's host; of a binding that is
	// attached, those that are new get the route. An error leaves things as they were.
	Attach(ctx context.Context, b Binding, v VirtualVolume, initiators []string) error

	// Detach withdraws the route and returns when the last I/O is done, or after
	// the drain deadline cancelled it. Detaching what is not attached succeeds.
	Detach(ctx context.Context, b Binding) error

	// Map and Unmap do the same for a flat alias.
	Map(ctx context.Context, m LUNMapping, v VirtualVolume) error
	Unmap(ctx context.Context, m LUNMapping) error

	// Changed tells that the size of an attached volume changed (capacity), or its
	// content as a whole was replaced by a revert (content).
	Changed(v VirtualVolume, capacity, content bool)

	// SetQuality puts a volume's limits and durability in force, for commands that run as
	// well; nothing to do for a volume that is not attached. Attach and Map do so too.
	SetQuality(v VirtualVolume)

	// Quality tells what is in force for a volume, its MaxIOPS, MaxBytesPerSec and
	// Durability; false when it is not attached.
	Quality(id ID) (Quality, bool)

	// Busy tells whether the LUN number n is taken by a protocol endpoint or alias.
	Busy(n uint16) bool

	// List returns the protocol endpoints in order of their LUN.
	List() []ProtocolEndpoint
}

// TaskState of a task.
type TaskState string

const (
	TaskQueued  TaskState = "Queued"
	TaskRunning TaskState = "Running"
	TaskSuccess TaskState = "Success"
	TaskError   TaskState = "Error"
)

// Task is the row of one long operation.
type Task struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"` // the operation, "create", "snapshot" …, or the name that WatchTask gave it
	VVol      ID        `json:"vvol,omitzero"`
	State     TaskState `json:"state"`
	Progress  int       `json:"progress"` // percent
	Result    string    `json:"result,omitempty"`
	Error     string    `json:"error,omitempty"`
	Cause     string    `json:"cause,omitempty"` // text of the sentinel in Error
	Cancelled bool      `json:"cancelled,omitempty"`
	Started   time.Time `json:"started"`
	Ended     time.Time `json:"ended,omitzero"`
}

// Event is something that happened, for `vvsim events` and, later, VASA.
type Event struct {
	Serial  uint64    `json:"serial"` // rising by one
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`   // noun.verb: "vvol.created", "binding.removed", "container.threshold"
	Object  string    `json:"object"` // id of what it happened to
	Message string    `json:"message"`
	Status  Status    `json:"status,omitempty"` // of what an alarm is about, now
}

type (
	// Status is how bad something is.
	Status = alarm.Status
	// Alarm is one thing that is not Green.
	Alarm = alarm.Alarm
)

// FullPercent is from how much of its size on a container counts as full.
const FullPercent = alarm.FullPercent

// Status of alarms and events.
const (
	Green  = alarm.Green
	Yellow = alarm.Yellow
	Red    = alarm.Red
)
