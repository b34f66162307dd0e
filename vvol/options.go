package vvol

import (
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"vvsim/vvol/store"
)

// Options of a Service. Engine and Endpoints are borrowed: the caller closes them
// after the Service.
type Options struct {
	Engine    store.Engine
	Endpoints Endpoints

	// ArrayID names the array for ever. Empty: the one the catalog has, or a new
	// random UUID on an empty catalog. Open refuses one that differs from the catalog's.
	ArrayID string

	Clock  func() time.Time // default time.Now
	Random io.Reader        // source of ids, default crypto/rand

	MaxContainers  int // default 256
	MaxVVols       int // all volumes, snapshots and prepared snapshots; default 100,000
	MaxBindings    int // default 500,000
	MaxHosts       int // default 4,096
	MaxSnapshots   int // of one volume, where its service level says nothing; default 256
	EventsKept     int // default 4,096
	TasksKept      int // finished tasks at most; default 32,768, up to 20 MB
	MaxSubscribers int // readers of Subscribe at a time; default 256

	// TaskTime is how long after its end a task can be asked for (vasa.md 7.5), while there
	// are no more than TasksKept; the last tasksLeast are kept longer. Default 10 min.
	TaskTime time.Duration

	// DrainTimeout bounds one Detach or Unmap, the wait for running I/O included;
	// default 30 s. The endpoints' own drain deadline should be shorter.
	DrainTimeout time.Duration

	// PreparedKept is how long a prepared snapshot that is not taken lives; default 1 h.
	PreparedKept time.Duration

	// AttachParallel bounds how many volumes Start and UnbindHost work on at once; default 16.
	AttachParallel int
}

// Limits that are not options.
const (
	maxNameBytes     = 255       // name of a volume or container
	maxMetadataPairs = 256       // of one volume
	maxMetadataKey   = 255       // bytes
	maxMetadataBytes = 64 << 10  // keys and values of one volume; its row stays below store.MaxMetaValue
	maxReservation   = 256 << 10 // bytes of one reservation state
	maxLevels        = 32        // service levels of a container
	maxInitiatorName = 223       // bytes (RFC 7143 4.2.7.2)
	maxInitiators    = 64        // of one host
	maxGUID          = 64        // bytes
	maxLUN           = 16383     // flat space addressing (SAM-5 4.7.7.3)
	maxSetItems      = 1024      // items of one call that takes a list, where the engine allows as many
	sizeUnit         = 4096      // bytes; sizes are multiples of it and of the engine's block
	tasksLeast       = 1024      // finished tasks that are kept however old they are
	tasksAtOnce      = 1024      // of them that are forgotten with one commit
	copyChunk        = 64 << 20  // bytes of one CopyFrom, so that progress shows and cancellation works
)

// EnsureDefaults fills what is zero.
func (o *Options) EnsureDefaults() {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	for _, d := range []struct {
		field *int
		value int
	}{
		{&o.MaxContainers, 256}, {&o.MaxVVols, 100_000}, {&o.MaxBindings, 500_000}, {&o.MaxHosts, 4096},
		{&o.MaxSnapshots, 256}, {&o.EventsKept, 4096}, {&o.TasksKept, 32_768}, {&o.MaxSubscribers, 256},
		{&o.AttachParallel, 16},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.TaskTime == 0 {
		o.TaskTime = 10 * time.Minute
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = 30 * time.Second
	}
	if o.PreparedKept == 0 {
		o.PreparedKept = time.Hour
	}
}

// Validate tells what is wrong; the error is ErrInvalid.
func (o *Options) Validate() error {
	if o.Engine == nil {
		return fmt.Errorf("%w: no engine", ErrInvalid)
	}
	if o.Endpoints == nil {
		return fmt.Errorf("%w: no endpoints", ErrInvalid)
	}
	for name, n := range map[string]int{
		"MaxContainers": o.MaxContainers, "MaxVVols": o.MaxVVols, "MaxBindings": o.MaxBindings, "MaxHosts": o.MaxHosts,
		"MaxSnapshots": o.MaxSnapshots, "EventsKept": o.EventsKept, "TasksKept": o.TasksKept,
		"MaxSubscribers": o.MaxSubscribers, "AttachParallel": o.AttachParallel,
	} {
		if n < 1 {
			return fmt.Errorf("%w: %s is %d, must be at least 1", ErrInvalid, name, n)
		}
	}
	if o.TaskTime < 0 || o.DrainTimeout < 0 || o.PreparedKept < 0 {
		return fmt.Errorf("%w: a negative time", ErrInvalid)
	}
	return nil
}
