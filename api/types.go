package api

import (
	"time"

	"vvsim/vvol"
)

// Container is a storage container as the API shows it.
type Container struct {
	ID              string              `json:"id"`
	Name            string              `json:"name"`
	SizeBytes       uint64              `json:"sizeBytes"`
	UsedBytes       uint64              `json:"usedBytes" doc:"held on behalf of its volumes, shared data once"`
	LogicalBytes    uint64              `json:"logicalBytes" doc:"allocated by its volumes as if nothing were shared"`
	ReservedBytes   uint64              `json:"reservedBytes"`
	Volumes         int                 `json:"volumes"`
	ServiceLevels   []vvol.ServiceLevel `json:"serviceLevels"`
	WarnPercentUsed int                 `json:"warnPercentUsed,omitempty" doc:"from which its alarm comes: the lowest of its levels and volumes"`
	Created         time.Time           `json:"created"`
}

// VVol is a virtual volume as the API shows it.
type VVol struct {
	ID             string            `json:"id"`
	Name           string            `json:"name"`
	Type           string            `json:"type"`
	Container      string            `json:"container"`
	SizeBytes      uint64            `json:"sizeBytes"`
	AllocatedBytes uint64            `json:"allocatedBytes"`
	UnsharedBytes  uint64            `json:"unsharedBytes"`
	Parent         string            `json:"parent" doc:"volume that a snapshot or linked copy was taken of; empty for none"`
	SnapshotOf     string            `json:"snapshotOf" doc:"set for snapshots"`
	State          string            `json:"state"`
	ServiceLevel   string            `json:"serviceLevel"`
	Quality        vvol.Quality      `json:"quality" doc:"what it has, within the bounds of its level"`
	Policy         vvol.Policy       `json:"policy" doc:"where its quality came from"`
	ReadOnly       bool              `json:"readOnly"`
	Bindings       []Binding         `json:"bindings"`
	LUNs           []int             `json:"luns" doc:"flat aliases"`
	Metadata       map[string]string `json:"metadata"`
	Created        time.Time         `json:"created"`
}

// Binding as the API shows it.
type Binding struct {
	ID          string    `json:"id"`
	VVol        string    `json:"vvol"`
	Initiator   string    `json:"initiator"`
	PE          string    `json:"pe"`
	PELUN       uint16    `json:"peLun"`
	SecondaryID string    `json:"secondaryId" doc:"bytes 2-7 of the LUN, 0x and 12 hex digits"`
	LUN         string    `json:"lun" doc:"the eight bytes of the LUN on the wire, 16 hex digits"`
	Created     time.Time `json:"created"`
}

// PE is a protocol endpoint.
type PE struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	LUN   uint16 `json:"lun"`
	State string `json:"state"`
}

// LUN is a flat alias.
type LUN struct {
	LUN  int    `json:"lun"`
	VVol string `json:"vvol"`
}

// Host as the API shows it.
type Host struct {
	ID         string    `json:"id"`
	GUID       string    `json:"guid" doc:"as the host declared itself; empty for one known by iSCSI alone"`
	Initiators []string  `json:"initiators"`
	FirstSeen  time.Time `json:"firstSeen"`
	Bindings   int       `json:"bindings"`
	Sessions   int       `json:"sessions"`
}

// Session is one iSCSI session.
type Session struct {
	ID             string    `json:"id"`
	Initiator      string    `json:"initiator"`
	ISID           string    `json:"isid"`
	TSIH           uint16    `json:"tsih"`
	Portal         string    `json:"portal"`
	PortalGroup    uint16    `json:"portalGroup"`
	Remote         string    `json:"remote"`
	Discovery      bool      `json:"discovery"`
	ConnectedSince time.Time `json:"connectedSince"`
	InFlight       int       `json:"inFlight"`
	Commands       uint64    `json:"commands"`
	Errors         uint64    `json:"errors" doc:"commands answered with another status than GOOD"`
	BytesIn        uint64    `json:"bytesIn" doc:"to the initiator"`
	BytesOut       uint64    `json:"bytesOut" doc:"from the initiator"`
}

// Event is shown as the domain has it.
type Event = vvol.Event

// Alarm is shown as the domain has it.
type Alarm = vvol.Alarm

// Compliance is shown as the domain has it.
type Compliance = vvol.Compliance

// Task is shown as the domain has it.
type Task = vvol.Task

// Range is a byte range of a volume.
type Range struct {
	Offset uint64 `json:"offset"`
	Length uint64 `json:"length"`
}
