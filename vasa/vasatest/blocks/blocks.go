package blocks

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/vasa/vasatest"
)

// IO is vasatest.IO over iSCSI sessions without CHAP, one for each initiator. Used by one
// goroutine.
type IO struct {
	portal, target string
	paths          map[string]*path // by initiator
}

// New makes an IO through a portal, host:port. Without a target's name it is the first
// that the portal reports.
func New(portal, target string) *IO {
	return &IO{portal: portal, target: target, paths: map[string]*path{}}
}

// path is one initiator's session.
type path struct {
	session   *initiator.Session
	endpoints map[string]scsi.LUN // by name
}

// Write implements vasatest.IO.
func (x *IO) Write(ctx context.Context, a vasatest.Access, offset uint64, p []byte) error {
	return x.do(ctx, a, func(u *initiator.Unit) error {
		_, err := u.WriteAt(ctx, p, int64(offset), false)
		return err
	})
}

// Read implements vasatest.IO.
func (x *IO) Read(ctx context.Context, a vasatest.Access, offset uint64, p []byte) error {
	return x.do(ctx, a, func(u *initiator.Unit) error {
		_, err := u.ReadAt(ctx, p, int64(offset))
		return err
	})
}

// do runs I/O on a bound volume. A session that ended, as when the array was stopped, is
// opened again once: the exercise's I/O may be repeated.
func (x *IO) do(ctx context.Context, a vasatest.Access, run func(*initiator.Unit) error) error {
	if len(a.Initiators) == 0 {
		return fmt.Errorf("host %s has no initiator", a.Host)
	}
	for again := true; ; again = false {
		p, err := x.log(ctx, a.Initiators[0])
		if err != nil {
			return err
		}
		lun, err := p.lun(a)
		if err != nil {
			return err
		}
		u := p.session.Unit(lun)
		if _, err = u.ClearAttentions(ctx); err == nil {
			err = run(u)
		}
		select {
		case <-p.session.Done():
			delete(x.paths, a.Initiators[0])
			if again {
				continue
			}
		default:
		}
		return err
	}
}

// log logs an initiator in and finds the protocol endpoints.
func (x *IO) log(ctx context.Context, name string) (*path, error) {
	if p := x.paths[name]; p != nil {
		return p, nil
	}
	o := initiator.Options{Address: x.portal, InitiatorName: name, TargetName: x.target}
	if o.TargetName == "" {
		targets, err := initiator.Discover(ctx, initiator.Options{Address: x.portal, InitiatorName: name, Discovery: true})
		if err != nil {
			return nil, fmt.Errorf("portal %s: %w", x.portal, err)
		}
		if len(targets) == 0 {
			return nil, fmt.Errorf("portal %s reports no target", x.portal)
		}
		o.TargetName = targets[0].Name
	}
	s, err := initiator.Dial(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("portal %s: %w", x.portal, err)
	}
	p := &path{session: s, endpoints: map[string]scsi.LUN{}}
	if err := p.find(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	x.paths[name] = p
	return p, nil
}

func (p *path) find(ctx context.Context) error {
	// REPORT LUNS needs no logical unit at LUN 0, and no attention stops it (SPC-4 6.33).
	luns, err := p.session.Unit(scsi.LUN{}).ReportLUNs(ctx, initiator.ReportAdministrative)
	if err != nil {
		return fmt.Errorf("protocol endpoints: %w", err)
	}
	for _, lun := range luns {
		u := p.session.Unit(lun)
		if _, err := u.ClearAttentions(ctx); err != nil {
			return err
		}
		list, err := u.Designators(ctx)
		if err != nil {
			return err
		}
		for _, d := range list {
			if d.Association == 0 && d.Type == 3 { // of the logical unit, NAA (SPC-4 7.8.6)
				p.endpoints["naa."+hex.EncodeToString(d.ID)] = lun
			}
		}
	}
	return nil
}

// lun is where a bound volume is (vasa.md 5): the endpoint's first level, and the
// secondary id behind it.
func (p *path) lun(a vasatest.Access) (scsi.LUN, error) {
	lun, ok := p.endpoints[strings.ToLower(a.PE)]
	if !ok {
		return lun, fmt.Errorf("protocol endpoint %s is not seen through the portal", a.PE)
	}
	id, err := hex.DecodeString(strings.TrimPrefix(strings.ToLower(a.SecondaryID), "0x"))
	if err != nil || len(id) == 0 {
		return lun, fmt.Errorf("vvolSecondaryId %q is not 0x and hexadecimal digits", a.SecondaryID)
	}
	copy(lun[2:], id) // what does not fit into the LUN is padding
	return lun, nil
}

// Close logs out.
func (x *IO) Close() {
	for _, p := range x.paths {
		_ = p.session.Logout(context.Background()) // the connection may be gone
		_ = p.session.Close()
	}
}
