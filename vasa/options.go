package vasa

import (
	"fmt"
	"io"
	"time"

	"vvsim/vasa/trace"
	"vvsim/vasa/trust"
	"vvsim/vvol"
)

// Paths that the provider serves (contract.md 2).
const (
	VersionPath = "/vasa/version.xml"
	ServicePath = "/vasa/services/vasaService"
)

// Options of a Provider.
type Options struct {
	Service *vvol.Service // borrowed
	Trust   *trust.Store  // borrowed
	Array   Array
	// Portals lists the iSCSI portals, as initiators reach them.
	Portals func() []Portal
	// SecondaryID is the text of a subsidiary LUN: "0x" and its bytes behind the first
	// level in hexadecimal (vasa.md 5).
	SecondaryID func(secondary uint64) string
	// Designator is the name by which hosts know the logical unit of a volume: "naa." and
	// hexadecimal digits; nil: the inventory of LUNs goes without.
	Designator func(v vvol.VirtualVolume) string
	// Health tells why the array cannot be managed, nil if it can. It is asked by each poll
	// of each client, and must answer at once; a nil function: always managed.
	Health func() error
	// Statistics are the array's counters; without them the profile is not announced.
	Statistics Statistics
	// Knobs are the settings that may change at run time.
	Knobs func() Knobs
	// VersionXML is the body of version.xml; nil for the form that Knobs name.
	VersionXML []byte
	Limits     Limits
	Events     Events
	Clock      func() time.Time // default time.Now
	Random     io.Reader        // of session ids; default crypto/rand
}

// Array is what the provider says about the array and itself.
type Array struct {
	Name     string
	Vendor   string
	Model    string
	Firmware string // also the provider's version
	UID      string // UUID of the provider; stable for ever
}

// Statistics are functions that read counters; both or none.
type Statistics struct {
	// Volumes reads the counters of volumes, each named once, in their order; what nobody has
	// used is zero.
	Volumes func(ids []vvol.ID) []Counters
	// Array reads those of the whole array since it was started; it has no times.
	Array func() Counters
}

func (s Statistics) offered() bool { return s.Volumes != nil }

// Counters only rise, but for those of a volume that was detached in between.
type Counters struct {
	Reads, Writes, Others           uint64        // commands
	ReadBytes, WrittenBytes         uint64        // that were transferred
	ReadTime, WriteTime, OthersTime time.Duration // sums, each command from its arrival to its end
}

// Portal is one iSCSI portal of the array.
type Portal struct {
	Address    string // host:port
	Group      uint16 // target portal group tag
	TargetName string // iSCSI name
}

// Knobs answer the open questions of vasa.md 13; the zero value is the interim choice
// of each.
type Knobs struct {
	VersionForm     VersionForm
	Strict          bool // refuse what a tolerant provider ignores and traces
	MSBFirst        bool // bit 7 of a bitmap's first byte is the first chunk, not bit 0
	EventsFromZero  bool // the first event and alarm after -1 has id 0, not 1
	UnsharedValid   bool // SpaceStats tell the unshared space
	EndpointsByID   bool // setPEContext names an endpoint by its uniqueIdentifier too, not by the in-band id alone
	TasksRunFirst   bool // tasks are told as Running once before their end
	ClosedBootstrap bool // certificate operations need a trusted certificate, those with a password excepted
	// MaxVVolSizeMB is announced for containers; 0: DefaultMaxVVolSizeMB.
	MaxVVolSizeMB int64
	Snapshots     SnapshotAccess
}

// SnapshotAccess is what hosts may do to the contents of a snapshot.
type SnapshotAccess string

// Values of SnapshotAccess.
const (
	SnapshotsAsAsked  SnapshotAccess = "as-asked" // as snapType says; also the zero value
	SnapshotsReadOnly SnapshotAccess = "read-only"
	SnapshotsWritable SnapshotAccess = "writable"
)

// DefaultMaxVVolSizeMB is 64 TiB, which hosts are known to accept (vasa.md 7.1).
const DefaultMaxVVolSizeMB = 64 << 20

// VersionForm is a candidate for the form of version.xml (vasa.md 1.1).
type VersionForm string

// Forms of version.xml.
const (
	FormAttribute VersionForm = "A" // serviceLocation as an attribute; also the zero value
	FormElement   VersionForm = "B" // serviceLocation as an element
)

// Limits of a Provider; zero values take the defaults.
type Limits struct {
	Sessions       int           // open at a time
	PerCertificate int           // of them, behind one client certificate
	Clients        int           // whose queues are kept
	Names          int           // GUIDs and initiators that one client certificate speaks for
	StrangerTime   time.Duration // for the body of a request without a trusted certificate
	SessionTimeout time.Duration // for clients that ask for none
	MaxTimeout     time.Duration // the most a client gets
	PerSession     int           // requests of one session at a time; announced to clients
	Requests       int           // requests at a time
	Batch          int           // items of one batch call; announced to clients
	Copies         int           // copies that run at a time
	Trace          int           // entries of each kind
	TraceOrder     int           // of the kind that tells which operation follows which
	StrangerTrace  int           // of each kind, of callers without a trusted certificate
}

// Defaults of Limits.
const (
	DefaultSessions       = 1024
	DefaultPerCertificate = 32
	DefaultClients        = 2048
	DefaultNames          = 512
	DefaultStrangerTime   = 10 * time.Second
	DefaultSessionTimeout = 300 * time.Second // seen in providers (vasa.md 1.4)
	DefaultMaxTimeout     = 24 * time.Hour
	DefaultPerSession     = 16
	DefaultRequests       = 256
	DefaultBatch          = 1024
	DefaultCopies         = 4
	DefaultTrace          = 256
	DefaultTraceOrder     = 1024 // a few hundred are met; each is short
	DefaultStrangerTrace  = 64
)

func (l *Limits) ensureDefaults() {
	for _, x := range []struct {
		value *int
		other int
	}{
		{&l.Sessions, DefaultSessions}, {&l.PerCertificate, DefaultPerCertificate}, {&l.Clients, DefaultClients},
		{&l.Names, DefaultNames}, {&l.PerSession, DefaultPerSession},
		{&l.Requests, DefaultRequests}, {&l.Batch, DefaultBatch}, {&l.Copies, DefaultCopies}, {&l.Trace, DefaultTrace},
		{&l.TraceOrder, DefaultTraceOrder}, {&l.StrangerTrace, DefaultStrangerTrace},
	} {
		if *x.value == 0 {
			*x.value = x.other
		}
	}
	if l.SessionTimeout == 0 {
		l.SessionTimeout = DefaultSessionTimeout
	}
	if l.StrangerTime == 0 {
		l.StrangerTime = DefaultStrangerTime
	}
	if l.MaxTimeout == 0 {
		l.MaxTimeout = DefaultMaxTimeout
	}
}

func (o *Options) validate() error {
	if o.Service == nil || o.Trust == nil || o.Portals == nil || o.SecondaryID == nil || o.Knobs == nil {
		return fmt.Errorf("%w: vasa: Service, Trust, Portals, SecondaryID and Knobs are needed", vvol.ErrInvalid)
	}
	if o.Array.UID == "" {
		return fmt.Errorf("%w: vasa: the array needs a UID", vvol.ErrInvalid)
	}
	if (o.Statistics.Volumes == nil) != (o.Statistics.Array == nil) {
		return fmt.Errorf("%w: vasa: Statistics need both functions", vvol.ErrInvalid)
	}
	l := o.Limits
	for _, n := range []int{l.Sessions, l.PerCertificate, l.Clients, l.Names, l.PerSession, l.Requests, l.Batch, l.Copies, l.Trace, l.TraceOrder, l.StrangerTrace,
		int(l.SessionTimeout), int(l.MaxTimeout), int(l.StrangerTime)} {
		if n < 0 {
			return fmt.Errorf("%w: vasa: a limit is negative", vvol.ErrInvalid)
		}
	}
	return nil
}

// Events tell what happens; nil functions pass over it. They are called from many
// goroutines and must not block.
type Events struct {
	// Called reports each request.
	Called func(Call)
	// Traced reports what a client sent that was not expected, when it comes for the first time.
	Traced func(trace.Entry)
	// Panic reports a panic in an operation.
	Panic func(c Call, value any, stack []byte)
	// Conflict reports two hosts that look like one, and what follows from it.
	Conflict func(text string)
}

// Call is one request, as logs show it.
type Call struct {
	ID        string // also in the text of the fault
	Operation string // empty if none was recognized
	Client    string // "host GUID", "vcenter GUID", or empty without a session
	Remote    string
	Took      time.Duration
	Outcome   string // "ok", or the name of the fault
	Detail    string // the fault's text
}
