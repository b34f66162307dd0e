package device

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"vvsim/scsi"
)

// TestTranscripts runs testdata/*.txt, which are meant to be read beside the
// standards. `go test -rewrite` writes the answers anew.
//
//	unit [kind=volume|administrative|well-known] [knobs=explicit-alua,...] [fresh] [read-only]
//	    a new logical unit (and another, number 2) with nexuses a and c through
//	    target port 1 and b through port 2; without "fresh" their POWER ON is heard
//	scsi
//	    one command a line:
//	    nexus[/unit][:LUN] CDB [< data] [in=N] [out=N]
//	    data is hex, "07*512" repeats, "|" continues; in and out are what the
//	    initiator expects, by default all
//	manage   nexus function   |  lost nexus
//	ports    number state ...      sets access states as the array would
//	attention code [nexus]         queues a unit attention
//	medium   fail|work|hold|release|read-only|writable
//	restart                        the unit is opened again from what it kept
//
// Answers: name of the row in the command table, status, sense with field pointer and INFORMATION, data in rows of 16
// bytes with equal rows folded, and the transfer length where it is neither that
// of the data sent nor received.
func TestTranscripts(t *testing.T) {
	seen := map[string]bool{}
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if filepath.Ext(path) != ".txt" {
			return
		}
		x := &transcript{seen: seen}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return x.step(t, d) })
	})
	var missing []string
	for _, c := range rows() {
		if !seen[c.name] {
			missing = append(missing, c.name)
		}
	}
	require.Empty(t, missing, "rows of the command table that no transcript exercises")
}

// transcript is the state between the steps of one file.
type transcript struct {
	seen    map[string]bool // names of rows that were run
	units   map[string]*LogicalUnit
	media   map[string]*scriptedMedium
	nexuses map[string]*scsi.Nexus
	ports   []PortGroup
	kept    map[string]*memoryStore
	configs map[string]Config
}

// memoryStore is a ReservationStore.
type memoryStore struct{ state []byte }

func (m *memoryStore) Load() ([]byte, error) { return m.state, nil }
func (m *memoryStore) Save(_ context.Context, b []byte) error {
	m.state = bytes.Clone(b)
	return nil
}

// scriptedMedium is ram that fails or waits when a transcript says so.
type scriptedMedium struct {
	*ram
	mu       sync.Mutex
	fails    bool
	readOnly bool
	held     chan struct{} // not nil: writers wait for it to close
}

var errMedium = errors.New("medium error")

func (m *scriptedMedium) ReadOnly() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.readOnly
}

func (m *scriptedMedium) gate(ctx context.Context) error {
	m.mu.Lock()
	held, fails := m.held, m.fails
	m.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fails {
		return errMedium
	}
	return nil
}

func (m *scriptedMedium) WriteAt(ctx context.Context, p []byte, off uint64, fua bool) error {
	if err := m.gate(ctx); err != nil {
		return err
	}
	return m.ram.WriteAt(ctx, p, off, fua)
}

func (m *scriptedMedium) Unmap(ctx context.Context, off, n uint64) error {
	if err := m.gate(ctx); err != nil {
		return err
	}
	return m.ram.Unmap(ctx, off, n)
}

// CopyFrom looks through the wrapper of the source.
func (m *scriptedMedium) CopyFrom(ctx context.Context, off uint64, src Medium, srcOff, n uint64) error {
	if err := m.gate(ctx); err != nil {
		return err
	}
	return m.ram.CopyFrom(ctx, off, src.(*scriptedMedium).ram, srcOff, n)
}

// Extents folds neighbours of one state, as engines do.
func (m *scriptedMedium) Extents(ctx context.Context, off, limit uint64) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		var last Extent
		for e, err := range m.ram.Extents(ctx, off, limit) {
			if last.Length > 0 && last.Mapped == e.Mapped && err == nil {
				last.Length += e.Length
				continue
			}
			if last.Length > 0 && !yield(last, nil) {
				return
			}
			last = e
		}
		if last.Length > 0 {
			yield(last, nil)
		}
	}
}

func (x *transcript) step(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "unit":
		x.open(t, d)
	case "restart":
		for name, c := range x.configs {
			lu, err := New(c)
			require.NoError(t, err)
			x.units[name] = lu
		}
	case "scsi":
		var b strings.Builder
		for line := range strings.Lines(d.Input) {
			b.WriteString(x.run(t, strings.TrimSpace(line)))
		}
		return b.String()
	case "manage":
		return x.manage(t, strings.Fields(d.Input))
	case "ports":
		f := strings.Fields(d.Input)
		for i := 0; i+1 < len(f); i += 2 {
			n, err := strconv.Atoi(f[i])
			require.NoError(t, err)
			x.setPorts(nil, map[uint16]AccessState{uint16(n): map[string]AccessState{"optimized": ActiveOptimized,
				"non-optimized": ActiveNonOptimized, "standby": Standby, "unavailable": Unavailable, "transitioning": Transitioning}[f[i+1]]})
		}
	case "attention":
		f := strings.Fields(d.Input)
		code, err := strconv.ParseUint(f[0], 16, 16)
		require.NoError(t, err)
		x.units["1"].Attention(scsi.ASC(code), func(n *scsi.Nexus) bool { return len(f) == 1 || n == x.nexuses[f[1]] })
	case "medium":
		x.medium(t, strings.TrimSpace(d.Input))
	default:
		t.Fatalf("%s: unknown step %q", d.Pos, d.Cmd)
	}
	return ""
}

func (x *transcript) medium(t *testing.T, what string) {
	m := x.media["1"]
	m.mu.Lock()
	defer m.mu.Unlock()
	switch what {
	case "fail", "work":
		m.fails = what == "fail"
	case "read-only", "writable":
		m.readOnly = what == "read-only"
	case "hold":
		m.held = make(chan struct{})
	case "release":
		close(m.held)
		m.held = nil
		m.mu.Unlock()
		x.units["1"].sanitize.wait()
		m.mu.Lock()
	default:
		t.Fatalf("medium %q", what)
	}
}

func (x *transcript) setPorts(by *scsi.Nexus, states map[uint16]AccessState) bool {
	x.ports = slices.Clone(x.ports)
	for i, g := range x.ports {
		if s, ok := states[g.ID]; ok {
			x.ports[i].State = s
		}
	}
	for _, lu := range x.units {
		lu.Attention(scsi.AccessStateChanged, func(n *scsi.Nexus) bool { return n != by })
	}
	return true
}

// open makes units 1 and 2.
func (x *transcript) open(t *testing.T, d *datadriven.TestData) {
	kind := Volume
	knobs := DefaultKnobs()
	for _, a := range d.CmdArgs {
		for _, v := range a.Vals {
			switch v {
			case "administrative":
				kind = Administrative
			case "well-known":
				kind = WellKnown
			case "explicit-alua":
				knobs.ExplicitALUA = true
			case "no-conglomerate-reports":
				knobs.ConglomerateReports = false
			case "zeros":
				knobs.EndpointMedia = MediaZeros
			case "no-medium":
				knobs.EndpointMedia = MediaNoMedium
			case "zero", "not-ready", "refuse":
				knobs.EndpointCapacity = CapacityAnswer(v)
			case "volume":
			default:
				t.Fatalf("%s: unknown value %q", d.Pos, v)
			}
		}
	}
	x.ports = []PortGroup{{ID: 1}, {ID: 2}}
	x.units, x.media, x.kept, x.configs = map[string]*LogicalUnit{}, map[string]*scriptedMedium{}, map[string]*memoryStore{}, map[string]Config{}
	x.nexuses = map[string]*scsi.Nexus{}
	for i, name := range []string{"a", "b", "c"} {
		x.nexuses[name] = &scsi.Nexus{NexusID: scsi.NexusID{Initiator: "iqn.2026-01.test:" + name, ISID: [6]byte{0, 2, 0x3d, 0, 0, 1}, TargetPort: uint16(1 + i%2)}}
	}
	for i, name := range []string{"1", "2"} {
		c := testConfig(kind)
		c.Identity.NAA = [16]byte{0x60, 15: byte(i + 1)}
		c.Identity.Serial = "unit" + name
		c.Knobs = func() Knobs { return knobs }
		c.Ports = func() []PortGroup { return x.ports }
		c.SetPorts = x.setPorts
		m := &scriptedMedium{ram: newRAM(1 << 20)}
		c.Medium = m
		x.kept[name] = &memoryStore{}
		c.Reservations = x.kept[name]
		c.CopyTarget = func(_ *scsi.Nexus, naa [16]byte) *LogicalUnit {
			for _, lu := range x.units {
				if lu.c.Identity.NAA == naa {
					return lu
				}
			}
			return nil
		}
		translate := c.Translate
		c.Translate = func(err error, lba uint64, write bool) (scsi.Status, *scsi.SenseData) {
			if !errors.Is(err, errMedium) {
				return translate(err, lba, write)
			}
			s := scsi.ReadError(lba)
			if write {
				s = scsi.WriteError(lba)
			}
			return scsi.StatusCheckCondition, &s
		}
		x.configs[name], x.media[name] = c, m
		lu, err := New(c)
		require.NoError(t, err)
		x.units[name] = lu
	}
	if d.HasArg("fresh") {
		return
	}
	for _, lu := range x.units {
		for _, n := range x.nexuses {
			lu.takeAttention(lu.nexus(n))
		}
	}
}

// parseData reads "07*512|00ff".
func parseData(t *testing.T, s string) (b []byte) {
	for part := range strings.SplitSeq(s, "|") {
		text, count, repeated := strings.Cut(part, "*")
		p, err := hex.DecodeString(text)
		require.NoError(t, err, "%q", part)
		n := 1
		if repeated {
			n, err = strconv.Atoi(count)
			require.NoError(t, err)
		}
		b = append(b, bytes.Repeat(p, n)...)
	}
	return b
}

func (x *transcript) run(t *testing.T, line string) string {
	if line == "" || strings.HasPrefix(line, "#") {
		return ""
	}
	f := strings.Fields(line)
	where, lun, _ := strings.Cut(f[0], ":")
	who, unit, other := strings.Cut(where, "/")
	if !other {
		unit = "1"
	}
	n, lu := x.nexuses[who], x.units[unit]
	require.True(t, n != nil && lu != nil, "%q", line)
	cdb, err := hex.DecodeString(f[1])
	require.NoError(t, err, "%q", line)
	require.Len(t, cdb, max(scsi.OpCode(cdb[0]).Length(), 6), "%q: length of the CDB", line)
	task := &scsi.Task{Nexus: n, CDB: append(cdb, make([]byte, 16)...), ExpectedIn: 1 << 20, Attribute: scsi.Simple}
	if lun != "" {
		task.LUN, err = scsi.ParseLUN(lun)
		require.NoError(t, err, "%q", line)
	}
	var out []byte
	var expectedOut int = -1
	for i := 2; i < len(f); i++ {
		switch {
		case f[i] == "<":
			i++
			out = parseData(t, f[i])
		case strings.HasPrefix(f[i], "in="):
			v, err := strconv.Atoi(f[i][3:])
			require.NoError(t, err)
			task.ExpectedIn = uint32(v)
		case strings.HasPrefix(f[i], "out="):
			expectedOut, err = strconv.Atoi(f[i][4:])
			require.NoError(t, err)
		default:
			t.Fatalf("%q: %q", line, f[i])
		}
	}
	if task.ExpectedOut = uint32(len(out)); expectedOut >= 0 {
		task.ExpectedOut = uint32(expectedOut)
	}
	name := "unknown command"
	if c := lu.table.lookUp(cdb); c != nil {
		name = c.name
		x.seen[name] = true
	}
	want := lu.Prepare(task)
	task.DataOut = out[:min(want, len(out))]
	r := lu.Execute(task)
	defer r.DataIn.Release()
	return name + ": " + describe(r, len(task.DataOut))
}

func describe(r scsi.Response, sent int) string {
	var b strings.Builder
	b.WriteString(r.Status.String())
	if s := r.Sense; s != nil {
		fmt.Fprintf(&b, " %v", s)
		if p := s.Field; p != nil {
			fmt.Fprintf(&b, " %s byte %d", map[bool]string{true: "CDB", false: "parameter"}[p.InCDB], p.Byte)
			if p.BitValid {
				fmt.Fprintf(&b, " bit %d", p.Bit)
			}
		}
		if s.Info != nil {
			fmt.Fprintf(&b, " information %d", *s.Info)
		}
		if s.Specific != nil {
			fmt.Fprintf(&b, " specific %d", *s.Specific)
		}
		if s.SenseKeySpecific != [3]byte{} {
			fmt.Fprintf(&b, " specific %x", s.SenseKeySpecific)
		}
		if r.DescriptorSense {
			b.WriteString(" in descriptor format")
		}
	}
	p := r.DataIn.Bytes()
	if n := int(r.TransferLength); n != sent && n != len(p) {
		fmt.Fprintf(&b, ", transfer length %d", n)
	}
	if len(p) > 0 {
		fmt.Fprintf(&b, ", %d bytes", len(p))
	}
	b.WriteByte('\n')
	for at := 0; at < len(p); {
		row := p[at:min(at+16, len(p))]
		same := at + len(row)
		for same+16 <= len(p) && bytes.Equal(p[same:same+16], row) {
			same += 16
		}
		fmt.Fprintf(&b, "  %4d  % x", at, row)
		if same > at+len(row) {
			fmt.Fprintf(&b, "  to %d", same-1)
		}
		if text := printable(row); text != "" {
			fmt.Fprintf(&b, "  %q", text)
		}
		b.WriteByte('\n')
		at = same
	}
	return b.String()
}

// printable is a row as text when most of it is.
func printable(row []byte) string {
	n := 0
	for _, c := range row {
		if c > ' ' && c < 0x7f {
			n++
		}
	}
	if n < 6 {
		return ""
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > 0x7e {
			return '.'
		}
		return c
	}, string(row))
}

var functions = map[string]scsi.TaskFunction{"abort-task-set": scsi.AbortTaskSet, "clear-task-set": scsi.ClearTaskSet,
	"lun-reset": scsi.LogicalUnitReset, "nexus-reset": scsi.ITNexusReset, "query-task-set": scsi.QueryTaskSet,
	"query-async": scsi.QueryAsyncEvent, "clear-aca": scsi.ClearACA, "reassign": scsi.TaskReassign}

func (x *transcript) manage(t *testing.T, f []string) string {
	require.Len(t, f, 2)
	if f[0] == "lost" {
		x.units["1"].NexusLost(x.nexuses[f[1]])
		return ""
	}
	function, ok := functions[f[1]]
	require.True(t, ok, "%s: want one of %v", f[1], slices.Sorted(maps.Keys(functions)))
	return fmt.Sprintf("response %d\n", x.units["1"].Manage(t.Context(), scsi.TaskManagement{Function: function, Nexus: x.nexuses[f[0]]}))
}
