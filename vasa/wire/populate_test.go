package wire

import (
	"fmt"
	"math"
	"reflect"
	"time"
)

// extensions are the types that may stand in a polymorphic field, by its interface.
var extensions = map[reflect.Type][]any{
	reflect.TypeFor[AnyEvent]():      {new(StorageEvent), new(RebindEvent)},
	reflect.TypeFor[AnyAlarm]():      {new(StorageAlarm), new(ComplianceAlarm)},
	reflect.TypeFor[AnyProfile]():    {new(StorageProfile), new(DefaultProfile)},
	reflect.TypeFor[AnySubProfile](): {new(SubProfile), new(SubProfileWithCandidates)},
	reflect.TypeFor[AnyTypeInfo]():   {new(TypeInfo), new(GenericTypeInfo)},
	reflect.TypeFor[AnyEntity](): {new(BaseStorageEntity), new(StorageArray), new(StorageProcessor), new(StoragePort),
		new(StorageLun), new(StorageFileSystem), new(StorageCapability), new(StorageContainer), new(BackingStoragePool),
		new(ProtocolEndpoint), new(VirtualVolumeHandle), new(VirtualVolumeInfo), new(HostInitiatorInfo)},
}

// populator fills every field of a struct, and takes turns where there is a choice.
type populator struct {
	turn map[reflect.Type]int
	n    int64
}

// populated is a pointer to a value of type t in which each field is set.
func populated(t reflect.Type) any {
	p := &populator{turn: map[reflect.Type]int{}}
	v := reflect.New(t)
	p.fill(v.Elem(), "")
	return v.Interface()
}

func (p *populator) fill(v reflect.Value, name string) {
	p.n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2024, 2, 29, 23, 59, int(p.n%60), 123_000_000, time.UTC)))
		return
	case v.Type() == reflect.TypeFor[[]byte]():
		v.SetBytes([]byte{0, 0xFF, byte(p.n)})
		return
	case v.Type() == reflect.TypeFor[any]():
		v.Set(reflect.ValueOf(p.anything(name)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(p.text(v, name))
	case reflect.Bool:
		v.SetBool(p.n%2 == 0)
	case reflect.Int32, reflect.Int64:
		v.SetInt(p.n)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		p.fill(v.Elem(), name)
	case reflect.Slice:
		n := 2
		if v.Type().Elem().Kind() == reflect.Interface {
			n = max(n, len(p.choices(v.Type().Elem())))
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			p.fill(v.Index(i), name)
		}
	case reflect.Interface:
		choices := p.choices(v.Type())
		p.turn[v.Type()]++
		item := reflect.New(reflect.TypeOf(choices[p.turn[v.Type()]%len(choices)]).Elem())
		p.fill(item.Elem(), name)
		v.Set(item)
	case reflect.Struct:
		for i := range v.NumField() {
			p.fill(v.Field(i), v.Type().Field(i).Name)
		}
	}
}

func (p *populator) choices(t reflect.Type) []any {
	if t == reflect.TypeFor[any]() {
		return make([]any, 9)
	}
	return extensions[t]
}

// text is a value of an enumeration in turn, or a text with what has to be escaped.
func (p *populator) text(v reflect.Value, name string) string {
	if values := v.MethodByName("Values"); values.IsValid() {
		all := values.Call(nil)[0]
		p.turn[v.Type()]++
		return all.Index(p.turn[v.Type()] % all.Len()).String()
	}
	if p.n%29 == 0 {
		return " <&\">']]> \r\n\t é " + name
	}
	return fmt.Sprintf("%s %d", name, p.n)
}

// anything is a value of xs:anyType: faults where the contract wants them, else each kind in turn.
func (p *populator) anything(name string) any {
	switch name {
	case "Error", "Fault":
		faults := []any{&NotFound{}, &StorageFault{FaultMessageID: new("fault.internal"), ParameterList: []NameValuePair{{new("a"), new("b")}}}, &TooMany{MaxBatchSize: new(int64(16))}}
		return faults[int(p.n)%len(faults)]
	case "Exception":
		return "left out"
	case "Result":
		return populated(reflect.TypeFor[PrepareSnapshotResult]())
	}
	key := reflect.TypeFor[any]()
	p.turn[key]++
	values := []any{"text", true, int32(math.MinInt32), int64(math.MaxInt64), 1.5e300, time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC),
		&Range{Max: int64(10), Min: int64(1)}, &DiscreteSet{Values: []any{"gold", "silver"}}, &TimeSpan{Unit: TimeUnitDays, Value: 3}}
	return values[p.turn[key]%len(values)]
}
