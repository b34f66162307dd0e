package vvol

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

// Every sentinel of the engine has one row and becomes a sentinel of this package.
func TestStoreErrorsHaveRows(t *testing.T) {
	require.Len(t, storeErrors(), len(store.Errors()))
	for _, e := range store.Errors() {
		rows := 0
		for _, r := range storeErrors() {
			if errors.Is(r.store, e) {
				rows++
				got := translate(fmt.Errorf("volume x: %w", e))
				require.ErrorIs(t, got, r.vvol)
				require.ErrorIs(t, got, e)
				require.Contains(t, Errors(), r.vvol)
			}
		}
		require.Equal(t, 1, rows, "%v", e)
	}
	require.ErrorIs(t, translate(errors.New("disk on fire")), ErrStorage)
	require.ErrorIs(t, translate(context.Canceled), context.Canceled)
	require.NotErrorIs(t, translate(context.Canceled), ErrStorage)
	require.ErrorIs(t, unrelated(store.ErrInvalid), ErrIncompatible)
	require.NoError(t, translate(nil))
	for _, e := range Errors() {
		require.Equal(t, e, translate(e))
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"disk 1": true, "": true, "Größe": true, strings.Repeat("x", 255): true,
		strings.Repeat("x", 256): false, "a\nb": false, "a\xffb": false, "a\x00": false,
	} {
		require.Equal(t, ok, checkName("name", name) == nil, "%q", name)
	}
	for name, ok := range map[string]bool{
		"iqn.1998-01.com.vmware:esx1": true, "eui.02004567A425678D": true, "naa.52004567BA64678D": true,
		"IQN.2000-01.org.x:Y": true, "": false, "esx1": false, "iqn.x y": false, "iqn.\x01": false,
		"iqn." + strings.Repeat("x", 219): true, "iqn." + strings.Repeat("x", 220): false,
	} {
		require.Equal(t, ok, checkInitiator(name) == nil, "%q", name)
	}
}

// Whatever is in Meta: a clear error or a row that is written back as it is kept.
func FuzzDecodeRow(f *testing.F) {
	id := ID{1, 2, 3}
	for _, r := range []record{
		&formatRow{1, "a"}, &counters{1, 2, 3, 4},
		&containerRow{StorageContainer{ID: ContainerID(id), Name: "c", Size: 1, ServiceLevels: DefaultServiceLevels()}},
		&poolRow{ID: id}, &volumeRow{VirtualVolume: VirtualVolume{ID: id, Metadata: map[string]string{"k": "v"}, State: Resizing}, Intent: &intent{Size: 1}},
		&volumeRow{VirtualVolume: VirtualVolume{ID: id, State: Ready}},
		&bindingRow{Binding{ID: 7, Secondary: 1}}, &hostRow{Host{ID: "h"}}, &lunRow{LUNMapping{LUN: 3}},
		&reservationRow{"naa.1", []byte{1}}, &taskRow{Number: 9}, &eventRow{Event{Serial: 8}},
	} {
		value, err := r.encode()
		require.NoError(f, err)
		f.Add(r.key(), value)
	}
	f.Add("vvol/x/y", []byte("{}"))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		r, err := decodeRow(key, value)
		if err != nil {
			require.ErrorIs(t, err, ErrStorage)
			return
		}
		c := newCatalog()
		r.put(c)
		again, err := r.encode()
		require.NoError(t, err)
		same, err := decodeRow(r.key(), again)
		require.NoError(t, err)
		require.True(t, sameRow(r, same))
		r.drop(c)
	})
}
