package fault

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol"
	"vvsim/vvol/store"
	"vvsim/vvol/store/mem"
)

// differences counts the bits of each block in which a and b differ.
func differences(a, b []byte) (bits []int) {
	for at := 0; at < len(a); at += blockLength {
		n := 0
		for k := at; k < at+blockLength; k++ {
			for x := a[k] ^ b[k]; x != 0; x &= x - 1 {
				n++
			}
		}
		bits = append(bits, n)
	}
	return bits
}

func TestEngine(t *testing.T) {
	ctx := t.Context()
	victim, sister := store.ID{1}, store.ID{2}
	i := open(t, Options{Name: func(id vvol.ID) string { return map[vvol.ID]string{{1}: "victim", {2}: "sister"}[id] }})
	e := i.NewEngine(mem.New())
	defer func() { require.NoError(t, e.Close()) }()
	objects := map[store.ID]store.Object{}
	data := bytes.Repeat([]byte("0123456789abcdef"), 256)
	for _, id := range []store.ID{victim, sister} {
		require.NoError(t, e.Create(ctx, id, store.CreateOptions{Size: 1 << 20}))
		o, err := e.Open(ctx, id)
		require.NoError(t, err)
		defer func() { require.NoError(t, o.Close()) }()
		require.NoError(t, o.WriteAt(ctx, data, 0, store.WriteOptions{}))
		objects[id] = o
	}
	_, err := e.Open(ctx, store.ID{3})
	require.ErrorIs(t, err, store.ErrNotFound)
	o, p := objects[victim], make([]byte, len(data))
	accesses := map[string]func(store.Object) error{
		"read":  func(o store.Object) error { return o.ReadAt(ctx, p, 0) },
		"write": func(o store.Object) error { return o.WriteAt(ctx, data, 0, store.WriteOptions{}) },
		"all": func(o store.Object) error {
			w := []store.Write{{Data: data, Offset: 0}, {Data: data, Offset: 8192}}
			o.WriteAll(ctx, w, store.WriteOptions{})
			require.Equal(t, w[0].Err == nil, w[1].Err == nil)
			return w[0].Err
		},
		"compare": func(o store.Object) error {
			return o.CompareAndWrite(ctx, data[:512], data[:512], 0, store.WriteOptions{})
		},
		"zero":  func(o store.Object) error { return o.Zero(ctx, 16384, 4096, store.WriteOptions{}) },
		"unmap": func(o store.Object) error { return o.Unmap(ctx, 16384, 4096, store.WriteOptions{}) },
		"copy":  func(o store.Object) error { return o.CopyFrom(ctx, 16384, objects[sister], 16384, 4096) },
		"flush": func(o store.Object) error { return o.Flush(ctx) },
	}
	for _, c := range []struct {
		rule   string
		want   error
		breaks []string
	}{
		{"engine vvol=victim op=read -> medium-error", store.ErrMedium, []string{"read"}},
		{"engine vvol=victim op=flush -> medium-error", store.ErrMedium, []string{"flush"}},
		{"engine vvol=" + vvol.ID(victim).String() + " op=write -> medium-error", store.ErrMedium, []string{"write", "all", "compare", "zero", "unmap", "copy"}},
		{"engine vvol=victim -> no-space", store.ErrNoSpace, []string{"write", "all", "compare", "zero", "copy"}},
		{"engine vvol=victim -> delay 1ns..2ns", nil, nil},
	} {
		add(t, i, c.rule)
		for name, access := range accesses {
			err := access(o)
			require.NoError(t, access(objects[sister]), "%s: %s of the sister", c.rule, name)
			if !contains(c.breaks, name) {
				require.NoError(t, err, "%s: %s", c.rule, name)
				continue
			}
			require.ErrorIs(t, err, c.want, "%s: %s", c.rule, name)
		}
		require.NoError(t, i.Clear(ctx))
		for name, access := range accesses {
			require.NoError(t, access(o), "%s is gone: %s", c.rule, name)
		}
	}
	testEngineCorrupts(t, i, o, data)
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func testEngineCorrupts(t *testing.T, i *Injector, o store.Object, data []byte) {
	ctx, p, again := t.Context(), make([]byte, len(data)), make([]byte, len(data))
	once := []int{1, 1, 1, 1, 1, 1, 1, 1}
	s := add(t, i, "engine vvol=victim op=read -> corrupt")
	require.NoError(t, o.ReadAt(ctx, p, 0))
	require.Equal(t, once, differences(p, data))
	require.NoError(t, o.ReadAt(ctx, again, 0))
	require.Equal(t, p, again, "the same place each time")
	require.NoError(t, i.Remove(ctx, s.ID))
	require.NoError(t, o.ReadAt(ctx, p, 0))
	require.Equal(t, data, p, "the medium is unharmed")

	whole := bytes.Clone(data)
	s = add(t, i, "engine op=write -> corrupt")
	require.NoError(t, o.WriteAt(ctx, data, 0, store.WriteOptions{}))
	require.NoError(t, o.Zero(ctx, 16384, 4096, store.WriteOptions{}))
	require.Equal(t, whole, data, "the caller's data are borrowed")
	require.EqualValues(t, 1, i.List()[0].Hits, "zeroing carries no data")
	require.NoError(t, i.Remove(ctx, s.ID))
	require.NoError(t, o.ReadAt(ctx, p, 0))
	require.Equal(t, once, differences(p, data))
}

// Blocks that are bad can't be read, by copies and comparisons either, until they are
// changed in any way.
func TestBadEngine(t *testing.T) {
	ctx := t.Context()
	id, other := store.ID{1}, store.ID{2}
	i := open(t, Options{Name: func(v vvol.ID) string { return map[vvol.ID]string{{1}: "victim"}[v] }})
	e := i.NewEngine(mem.New())
	defer func() { require.NoError(t, e.Close()) }()
	var objects [2]store.Object
	for k, x := range []store.ID{id, other} {
		require.NoError(t, e.Create(ctx, x, store.CreateOptions{Size: 1 << 20}))
		o, err := e.Open(ctx, x)
		require.NoError(t, err)
		defer func() { require.NoError(t, o.Close()) }()
		objects[k] = o
	}
	o, p := objects[0], make([]byte, 8192)
	for name, heal := range map[string]func() error{
		"write": func() error { return o.WriteAt(ctx, p, 4096, store.WriteOptions{}) },
		"all": func() error {
			w := []store.Write{{Data: p, Offset: 4096}}
			o.WriteAll(ctx, w, store.WriteOptions{})
			return w[0].Err
		},
		"zero":  func() error { return o.Zero(ctx, 4096, 8192, store.WriteOptions{}) },
		"unmap": func() error { return o.Unmap(ctx, 4096, 8192, store.WriteOptions{}) },
		"copy":  func() error { return o.CopyFrom(ctx, 4096, objects[1], 0, 8192) },
	} {
		add(t, i, "engine vvol=victim lba=9-15 -> medium-error")
		bad := func(err error) {
			t.Helper()
			var m *store.MediumError
			require.ErrorAs(t, err, &m, name)
			require.EqualValues(t, 9*512, m.Offset)
			require.False(t, m.Write)
		}
		bad(o.ReadAt(ctx, p, 0))
		bad(o.CompareAndWrite(ctx, p, p, 4096, store.WriteOptions{}))
		bad(objects[1].CopyFrom(ctx, 0, o, 0, 8192))
		require.NoError(t, o.ReadAt(ctx, p[:4096], 0))
		require.NoError(t, objects[1].ReadAt(ctx, p, 0))
		require.NoError(t, o.Flush(ctx))
		require.NoError(t, heal(), name)
		require.NoError(t, o.ReadAt(ctx, p, 0), name)
		require.NoError(t, o.CompareAndWrite(ctx, p, p, 4096, store.WriteOptions{}))
		require.NoError(t, objects[1].CopyFrom(ctx, 0, o, 0, 8192))
		require.NoError(t, i.Clear(ctx))
	}
	add(t, i, "engine lba=16-31 op=write -> no-space")
	require.NoError(t, o.WriteAt(ctx, p, 0, store.WriteOptions{}))
	require.ErrorIs(t, o.WriteAt(ctx, p[:512], 16*512, store.WriteOptions{}), store.ErrNoSpace)
	require.ErrorIs(t, o.Zero(ctx, 8192, 65536, store.WriteOptions{}), store.ErrNoSpace)
	require.NoError(t, o.WriteAt(ctx, p[:512], 32*512, store.WriteOptions{}))
}
