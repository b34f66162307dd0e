package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/gostor/gotgt/pkg/api"
	"github.com/gostor/gotgt/pkg/config"
	_ "github.com/gostor/gotgt/pkg/port/iscsit" // registers the driver "iscsi"
	"github.com/gostor/gotgt/pkg/scsi"
	_ "github.com/gostor/gotgt/pkg/scsi/backingstore" // registers the store of its LUN 0
	"github.com/sirupsen/logrus"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger"
	"vvsim/vvol/store/mem"
)

const (
	targetName = "iqn.2026-11.dev.vvsim:gotgt"
	backend    = "vvsim" // name of our store in gotgt's registry
	deviceID   = 1000
	blockShift = 9
	inMemory   = ":memory:"
)

type options struct {
	data, vvol, portal, level string
	port                      int
	size                      uint64
	gate                      bool
}

func main() {
	var o options
	flag.StringVar(&o.data, "data", inMemory, "data directory of vvsim, which must not run meanwhile, or "+inMemory)
	flag.StringVar(&o.vvol, "vvol", "", "volume to serve: rfc4122.UUID or UUID; in memory a new one is made")
	flag.Uint64Var(&o.size, "size", 1<<30, "bytes of the new volume with --data "+inMemory)
	flag.IntVar(&o.port, "port", 3270, "port, on all addresses")
	flag.StringVar(&o.portal, "address", "127.0.0.1", "address that initiators connect to; logins by another are refused")
	flag.StringVar(&o.level, "log-level", "error", "what gotgt logs: error, warn, info, debug")
	flag.BoolVar(&o.gate, "gate", false, "reads say how many of them there are, and each waits for a byte on standard input")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "gotgt: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "gotgt:", err)
		os.Exit(1)
	}
}

// run serves until a signal.
func run(o options) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	level, err := logrus.ParseLevel(o.level)
	if err != nil {
		return err
	}
	logrus.SetLevel(level)
	engine, object, err := openVolume(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	defer func() { err = errors.Join(err, object.Close()) }()

	b := &backing{object: object, transfer: engine.Limits().MaxTransfer}
	if o.gate {
		b.gate = &gate{out: os.Stdout, in: os.Stdin}
	}
	driver, err := newDriver(o, b)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- driver.Run(o.port) }()
	fmt.Printf("gotgt serves %s of %d bytes at iscsi://%s:%d/%s/0\n", object.ID(), object.Size(), o.portal, o.port, targetName)
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	return driver.Close() // connections end with the process: gotgt has no way to ask them
}

func openVolume(ctx context.Context, o options) (store.Engine, store.Object, error) {
	var id store.ID
	if o.vvol != "" || o.data != inMemory {
		var err error
		if id, err = store.ParseID(strings.TrimPrefix(o.vvol, "rfc4122.")); err != nil {
			return nil, nil, fmt.Errorf("--vvol: %w", err)
		}
	}
	engine, err := openEngine(ctx, o.data)
	if err != nil {
		return nil, nil, err
	}
	if o.data == inMemory {
		if err := engine.Create(ctx, id, store.CreateOptions{Size: o.size}); err != nil {
			return nil, nil, errors.Join(err, engine.Close())
		}
	}
	object, err := engine.Open(ctx, id)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", id, err), engine.Close())
	}
	return engine, object, nil
}

func openEngine(ctx context.Context, data string) (store.Engine, error) {
	if data == inMemory {
		return mem.New(), nil
	}
	if _, err := os.Stat(data); err != nil {
		return nil, err // the engine would make the directory
	}
	return badger.Open(ctx, badger.Options{Dir: data, Warn: func(s string) { fmt.Fprintln(os.Stderr, "gotgt:", s) }})
}

// newDriver fills gotgt's process-wide registries with one volume as LUN 0 and
// returns its iSCSI driver.
func newDriver(o options, b *backing) (scsi.SCSITargetDriver, error) {
	scsi.RegisterBackingStore(backend, func() (api.BackingStore, error) { return b, nil })
	c := &config.Config{
		Storages:     []config.BackendStorage{{DeviceID: deviceID, Path: backend + ":" + b.object.ID().String(), Online: true, ThinProvisioning: true, BlockShift: blockShift}},
		ISCSIPortals: []config.ISCSIPortalInfo{{ID: 0, Portal: fmt.Sprintf("%s:%d", o.portal, o.port)}},
		ISCSITargets: map[string]config.ISCSITarget{targetName: {
			TPGTs: map[string][]uint64{"1": {0}},
			LUNs:  map[string]uint64{"0": deviceID},
		}},
	}
	if err := scsi.InitSCSILUMap(c); err != nil {
		return nil, err
	}
	driver, err := scsi.NewTargetDriver("iscsi", scsi.NewSCSITargetService())
	if err != nil {
		return nil, err
	}
	return driver, driver.NewTarget(targetName, c)
}
