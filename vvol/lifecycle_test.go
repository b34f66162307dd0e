package vvol_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"vvsim/vvol"
	"vvsim/vvol/store"
)

// script runs text stories on a lab. Names stand for ids in both directions.
type script struct {
	*lab
	ids map[string]vvol.ID
}

// TestLifecycle runs testdata/lifecycle; after every command all invariants hold.
func TestLifecycle(t *testing.T) {
	datadriven.Walk(t, "testdata/lifecycle", func(t *testing.T, path string) {
		s := &script{lab: newLab(t, 2), ids: map[string]vvol.ID{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out, err := s.run(d)
			if err != nil {
				out += "error: " + err.Error() + "\n"
				require.True(t, slices.ContainsFunc(vvol.Errors(), func(e error) bool { return errors.Is(err, e) }), "%v", err)
			} else if out == "" {
				out = "ok\n"
			}
			s.verify()
			return s.named(out)
		})
	})
}

// named puts names for ids.
func (s *script) named(out string) string {
	for _, v := range s.VVols(vvol.Filter{Prepared: true}) {
		s.ids[v.Name] = v.ID
	}
	for name, id := range s.ids {
		out = strings.ReplaceAll(out, id.String(), "<"+name+">")
	}
	for _, k := range s.Containers() {
		out = strings.ReplaceAll(out, k.ID.String(), "<"+k.Name+">")
	}
	return out
}

func text(d *datadriven.TestData, key string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key && len(a.Vals) == 1 {
			return a.Vals[0]
		}
	}
	return ""
}

// number is 0 when the argument is missing, and no size at all when it is none.
func number(d *datadriven.TestData, key string) uint64 {
	v := text(d, key)
	n, err := strconv.ParseUint(or(v, "0"), 10, 64)
	if err != nil {
		panic(fmt.Sprintf("%s: %s=%s: %v", d.Pos, key, v, err))
	}
	return n
}

func pairs(d *datadriven.TestData) map[string]string {
	var m map[string]string
	for _, a := range d.CmdArgs {
		if a.Key != "meta" {
			continue
		}
		for _, v := range a.Vals {
			k, value, _ := strings.Cut(v, ":")
			if m == nil {
				m = map[string]string{}
			}
			m[k] = value
		}
	}
	return m
}

// id of a volume by name; unknown names become ids that do not exist.
func (s *script) id(name string) vvol.ID {
	if v, err := s.Find(name); err == nil {
		return v.ID
	}
	if id, ok := s.ids[name]; ok {
		return id
	}
	return vvol.ID{0xff}
}

func (s *script) run(d *datadriven.TestData) (string, error) {
	ctx := context.Background()
	first := ""
	if len(d.CmdArgs) > 0 {
		first = d.CmdArgs[0].Key
	}
	name := text(d, "name")
	switch d.Cmd {
	case "container":
		_, err := s.CreateContainer(ctx, vvol.ContainerSpec{Name: first, Size: number(d, "mib") * mib})
		return "", err
	case "resize-container":
		_, err := s.ResizeContainer(ctx, first, number(d, "mib")*mib)
		return "", err
	case "delete-container":
		return "", s.DeleteContainer(ctx, first)
	case "usage":
		u, err := s.ContainerUsage(ctx, first)
		return fmt.Sprintf("used %d reserved %d logical %d volumes %d\n", u.Used, u.Reserved, u.Logical, u.Volumes), err
	case "create":
		_, err := s.Create(ctx, vvol.CreateSpec{Container: or(text(d, "in"), "default"), Name: first, Size: number(d, "mib")*mib + number(d, "bytes"),
			Type: vvol.Type(text(d, "type")), PolicySpec: vvol.PolicySpec{ServiceLevel: text(d, "level")}, Metadata: pairs(d)})
		return "", err
	case "snapshot":
		_, err := s.Snapshot(ctx, s.id(first), vvol.SnapshotSpec{Name: name, Writable: d.HasArg("writable"), Metadata: pairs(d)})
		return "", err
	case "snapshot-set":
		items := []vvol.SnapshotItem{}
		for _, a := range d.CmdArgs {
			items = append(items, vvol.SnapshotItem{VVol: s.id(a.Key), SnapshotSpec: vvol.SnapshotSpec{Name: strings.Join(a.Vals, "")}})
		}
		made, err := s.SnapshotSet(ctx, items)
		return fmt.Sprintf("%d made\n", len(made)), err
	case "prepare":
		v, err := s.PrepareSnapshot(ctx, s.id(first), vvol.SnapshotSpec{Name: name, Metadata: pairs(d)})
		s.ids[name] = v.ID
		return "", err
	case "take":
		items := []vvol.PreparedItem{}
		for _, a := range d.CmdArgs {
			if a.Key != "meta" {
				items = append(items, vvol.PreparedItem{Snapshot: s.ids[a.Key], Metadata: pairs(d)})
			}
		}
		made, err := s.TakePrepared(ctx, items)
		return fmt.Sprintf("%d taken\n", len(made)), err
	}
	return s.runMore(ctx, d, first, name)
}

func (s *script) runMore(ctx context.Context, d *datadriven.TestData, first, name string) (string, error) {
	switch d.Cmd {
	case "clone":
		_, err := s.Clone(ctx, s.id(first), vvol.CloneSpec{Name: name, Container: text(d, "in"), PolicySpec: vvol.PolicySpec{ServiceLevel: text(d, "level")}})
		return "", err
	case "fast-clone":
		_, err := s.FastClone(ctx, s.id(first), vvol.CloneSpec{Name: name, Container: text(d, "in")})
		return "", err
	case "revert":
		_, err := s.Revert(ctx, s.id(first), s.id(text(d, "to")))
		return lines(s.endpoints.takeChanges()), err
	case "resize":
		_, err := s.Resize(ctx, s.id(first), number(d, "mib")*mib+number(d, "bytes"))
		return lines(s.endpoints.takeChanges()), err
	case "delete":
		return "", s.Delete(ctx, s.id(first))
	case "update":
		spec := vvol.UpdateSpec{Metadata: map[string]*string{}}
		if d.HasArg("name") {
			spec.Name = &name
		}
		for k, v := range pairs(d) {
			if spec.Metadata[k] = &v; v == "" {
				spec.Metadata[k] = nil
			}
		}
		_, err := s.Update(ctx, s.id(first), spec)
		return "", err
	case "write":
		return "", s.write(s.id(first), number(d, "block"), text(d, "fill")[0])
	case "read":
		return fmt.Sprintf("%q\n", s.read(s.id(first), number(d, "block"))), nil
	case "volume-usage":
		u, err := s.Usage(ctx, s.id(first))
		return fmt.Sprintf("%+v\n", u), err
	case "diff":
		base, kind := s.id(text(d, "base")), store.Different
		var out strings.Builder
		for r, err := range s.Ranges(ctx, s.id(first), kind, &base, number(d, "from")) {
			if err != nil {
				return out.String(), err
			}
			fmt.Fprintf(&out, "%d+%d\n", r.Offset, r.Length)
		}
		return out.String(), nil
	case "copy-diffs":
		return "", s.CopyDiffs(ctx, s.id(first), s.id(text(d, "base")), s.id(text(d, "to")))
	case "bind":
		b, err := s.Bind(ctx, s.id(first), text(d, "host"))
		return fmt.Sprintf("%s secondary %d generation %d\n", b.PE, b.Secondary, b.Generation), err
	case "unbind":
		return "", s.Unbind(ctx, s.id(first), text(d, "host"))
	case "unbind-all":
		return "", s.UnbindAll(ctx, s.id(first))
	case "unbind-host":
		return "", s.UnbindHost(ctx, vvol.HostID(first))
	}
	return s.runLast(ctx, d, first)
}

func (s *script) runLast(ctx context.Context, d *datadriven.TestData, first string) (string, error) {
	switch d.Cmd {
	case "map":
		var lun *uint16
		if d.HasArg("lun") {
			n := uint16(number(d, "lun"))
			lun = &n
		}
		m, err := s.MapLUN(ctx, s.id(first), lun)
		return fmt.Sprintf("LUN %d\n", m.LUN), err
	case "unmap":
		var n uint16
		_, err := fmt.Sscan(first, &n)
		return "", errors.Join(err, s.UnmapLUN(ctx, n))
	case "login":
		return "", s.SawInitiator(ctx, first)
	case "refuse": // the endpoints refuse routes from now on
		s.endpoints.refuse = map[string]error{"gone": store.ErrGone, "": nil}[first]
		return "", nil
	case "restart":
		s.restart()
		return "", nil
	case "wait":
		w, err := time.ParseDuration(first)
		s.clock.advance(w)
		return "", err
	case "find":
		v, err := s.Find(first)
		return v.ID.String() + "\n", err
	case "list":
		f := vvol.Filter{Container: text(d, "in"), Type: vvol.Type(text(d, "type")), Name: text(d, "name"), Metadata: pairs(d),
			Prepared: d.HasArg("prepared")}
		if k := text(d, "has"); k != "" {
			f.HasKeys = []string{k}
		}
		return s.list(f), nil
	case "bindings":
		var out strings.Builder
		for _, b := range s.Bindings(vvol.BindingFilter{}) {
			fmt.Fprintf(&out, "%v by %s on %s secondary %d\n", b.VVol, b.Host, b.PE, b.Secondary)
		}
		for _, m := range s.LUNMappings() {
			fmt.Fprintf(&out, "%v is LUN %d\n", m.VVol, m.LUN)
		}
		return or(out.String(), "none\n"), nil
	case "hosts":
		var out strings.Builder
		for _, h := range s.Hosts() {
			fmt.Fprintln(&out, h.ID, h.Initiators)
		}
		return out.String(), nil
	case "events":
		var out strings.Builder
		for _, e := range s.Events(number(d, "from"), 1000) {
			fmt.Fprintln(&out, e.Serial, e.Kind, e.Object, e.Message)
		}
		return out.String(), nil
	case "tasks":
		var out strings.Builder
		for _, t := range s.Tasks() {
			fmt.Fprintln(&out, t.ID, t.State, t.Progress, t.Result, t.Error)
		}
		return out.String(), nil
	}
	return "", fmt.Errorf("unknown command %s", d.Cmd)
}

func (s *script) list(f vvol.Filter) string {
	var out strings.Builder
	for _, v := range s.VVols(f) {
		fmt.Fprintf(&out, "%s %s %d %s", v.Name, v.Type, v.Size/mib, v.State)
		if v.Parent != (vvol.ID{}) {
			fmt.Fprintf(&out, " parent %v", v.Parent)
		}
		if v.SnapshotOf != (vvol.ID{}) {
			fmt.Fprintf(&out, " snapshot of %v", v.SnapshotOf)
		}
		if v.ReadOnly {
			out.WriteString(" read-only")
		}
		keys := []string{}
		for k, value := range v.Metadata {
			keys = append(keys, k+"="+value)
		}
		sort.Strings(keys)
		fmt.Fprintf(&out, " %v\n", keys)
	}
	return or(out.String(), "none\n")
}

func lines(l []string) string {
	if len(l) == 0 {
		return ""
	}
	return strings.Join(l, "\n") + "\n"
}

func or(v, other string) string {
	if v == "" {
		return other
	}
	return v
}
