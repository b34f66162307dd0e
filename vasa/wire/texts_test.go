package wire

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// label fills all texts below v with what tells where they are, and lists those that Texts
// has to find.
func label(v reflect.Value, path string, counts bool) (want []string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(path)
		if counts && v.Type() == reflect.TypeFor[string]() {
			return []string{path}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return label(v.Elem(), path, counts)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			want = append(want, label(v.Index(i), fmt.Sprintf("%s[%d]", path, i), counts)...)
		}
	case reflect.Struct:
		name := v.Type().Name()
		if name == "Time" {
			return nil
		}
		for i := range v.NumField() {
			want = append(want, label(v.Field(i), path+"."+v.Type().Field(i).Name, counts && name != "NameValuePair" && name != "QueryConstraint")...)
		}
	}
	return want
}

// The texts of every request are found, each once and in order, whichever field they are in.
func TestTexts(t *testing.T) {
	n := 0
	for _, o := range Operations() {
		request := o.NewRequest()
		require.LessOrEqual(t, len(slices.Collect(Texts(request))), 3, "%s: an empty request has no more than its empty fields", o.Name)
		want := label(reflect.ValueOf(request).Elem(), o.Name, true)
		require.Equal(t, want, slices.Collect(Texts(request)), o.Name)
		require.Equal(t, want, slices.Collect(Texts(request)), "again, as it is kept")
		for text := range Texts(request) {
			require.Equal(t, want[0], text, "one is enough")
			break
		}
		n += len(want)
	}
	require.Greater(t, n, 100)
	require.Empty(t, slices.Collect(Texts(nil)))
	require.Empty(t, slices.Collect(Texts((*BindVirtualVolume)(nil))))

	q := &SnapshotVirtualVolume{SnapshotInfo: []VirtualVolumeInfo{{VVolID: "a", Metadata: []NameValuePair{{ParameterValue: new("hidden")}}}, {VVolID: "b"}}}
	require.Equal(t, "a b", strings.Join(slices.Collect(Texts(q)), " "))
	create := &CreateVirtualVolume{ContainerID: "k", StorageProfile: &StorageProfile{Name: "hidden", ProfileID: "hidden"}}
	require.Equal(t, "k", strings.Join(slices.Collect(Texts(create)), " "))
}
