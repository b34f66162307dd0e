package wire

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func xmlName(space, local string) xml.Name { return xml.Name{Space: space, Local: local} }

// schemaElement and the types below are as much of XML Schema as the contract uses.
type schemaElement struct {
	Name      string           `xml:"name,attr"`
	Type      string           `xml:"type,attr"`
	MinOccurs string           `xml:"minOccurs,attr"`
	MaxOccurs string           `xml:"maxOccurs,attr"`
	Nillable  bool             `xml:"nillable,attr"`
	Sequence  *[]schemaElement `xml:"complexType>sequence>element"`
}

type schemaType struct {
	Name      string          `xml:"name,attr"`
	Own       []schemaElement `xml:"sequence>element"`
	Extension struct {
		Base string          `xml:"base,attr"`
		Own  []schemaElement `xml:"sequence>element"`
	} `xml:"complexContent>extension"`
}

type schemaDocument struct {
	Elements []schemaElement `xml:"element"`
	Types    []schemaType    `xml:"complexType"`
	Simple   []struct {
		Name   string `xml:"name,attr"`
		Values []struct {
			Value string `xml:"value,attr"`
		} `xml:"restriction>enumeration"`
	} `xml:"simpleType"`
}

func readSchema(t *testing.T, name string) (d schemaDocument) {
	b, err := os.ReadFile(filepath.Join(filepath.Dir(schemaFile(t)), name))
	require.NoError(t, err)
	require.NoError(t, xml.Unmarshal(b, &d))
	return d
}

// row is an element as both the schema and a struct can tell it: name:type and cardinality.
func (e schemaElement) row() string {
	cardinality := map[string]string{"": "1", "0": "?"}[e.MinOccurs]
	if e.MaxOccurs == "unbounded" {
		cardinality = map[string]string{"1": "+", "?": "*"}[cardinality]
	}
	if e.Nillable {
		cardinality += "~"
	}
	return e.Name + ":" + e.Type + " " + cardinality
}

func schemaRows(elements []schemaElement) (rows []string) {
	for _, e := range elements {
		rows = append(rows, e.row())
	}
	return rows
}

// structRows are the elements that a struct declares itself, and its base type.
func structRows(t *testing.T, st reflect.Type, prefixes map[reflect.Type]string) (base string, rows []string) {
	for i := range st.NumField() {
		f := st.Field(i)
		tag, ok := f.Tag.Lookup("vasa")
		if !ok {
			base = prefixes[f.Type] + ":" + f.Type.Name()
			continue
		}
		name, cardinality, _ := strings.Cut(tag, ",")
		rows = append(rows, name+":"+xsdType(t, f.Type, prefixes)+" "+cardinality)
	}
	return base, rows
}

func xsdType(t *testing.T, ft reflect.Type, prefixes map[reflect.Type]string) string {
	switch {
	case ft == reflect.TypeFor[time.Time]():
		return "xs:dateTime"
	case ft == reflect.TypeFor[[]byte]():
		return "xs:base64Binary"
	case ft == reflect.TypeFor[any]():
		return "xs:anyType"
	case ft.Kind() == reflect.Slice, ft.Kind() == reflect.Pointer:
		return xsdType(t, ft.Elem(), prefixes)
	case ft.Kind() == reflect.Interface:
		m, ok := ft.MethodByName("Base")
		require.True(t, ok, ft)
		return xsdType(t, m.Type.Out(0), prefixes)
	case ft.Kind() == reflect.Struct:
		require.Contains(t, prefixes, ft)
		return prefixes[ft] + ":" + ft.Name()
	}
	return map[reflect.Kind]string{reflect.String: "xs:string", reflect.Bool: "xs:boolean", reflect.Int32: "xs:int", reflect.Int64: "xs:long"}[ft.Kind()]
}

// TestTypesAreTheContracts compares every struct with the schema: elements, order,
// types, cardinality, base types; and that nothing is missing.
func TestTypesAreTheContracts(t *testing.T) {
	schemaFile(t)
	prefixes := map[reflect.Type]string{}
	for _, ns := range namespaces() {
		for _, v := range ns.Types {
			prefixes[reflect.TypeOf(v)] = ns.Prefix
		}
	}
	for _, ns := range namespaces() {
		d := readSchema(t, ns.Prefix+".xsd")
		require.Len(t, ns.Types, len(d.Types), ns.Prefix)
		for _, v := range ns.Types {
			st := reflect.TypeOf(v)
			i := slices.IndexFunc(d.Types, func(s schemaType) bool { return s.Name == st.Name() })
			require.GreaterOrEqual(t, i, 0, st)
			base, rows := structRows(t, st, prefixes)
			require.Equal(t, d.Types[i].Extension.Base, base, st)
			require.Equal(t, schemaRows(slices.Concat(d.Types[i].Own, d.Types[i].Extension.Own)), rows, st)
		}
	}

	elements := map[string][]string{}
	for _, e := range readSchema(t, "svc.xsd").Elements {
		require.NotNil(t, e.Sequence, e.Name)
		elements[e.Name] = schemaRows(*e.Sequence)
	}
	for _, op := range Operations() {
		_, rows := structRows(t, op.Request, prefixes)
		require.Equal(t, elements[op.Name], rows, op.Name)
		delete(elements, op.Name)
		if op.Response != nil {
			_, rows := structRows(t, op.Response, prefixes)
			require.Equal(t, elements[op.Name+"Response"], rows, op.Name)
			delete(elements, op.Name+"Response")
		}
	}
	for _, f := range faults() {
		require.Equal(t, []string{FaultName(f) + ":fault:" + FaultName(f) + " ?~"}, elements[FaultName(f)])
		delete(elements, FaultName(f))
	}
	require.Empty(t, elements, "elements without a type")
}

// TestOperationsAreTheContracts compares the table with the WSDL.
func TestOperationsAreTheContracts(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(filepath.Dir(schemaFile(t)), "vasaService.wsdl"))
	require.NoError(t, err)
	var d struct {
		Operations []struct {
			Name  string `xml:"name,attr"`
			Input struct {
				Action string `xml:"Action,attr"`
			} `xml:"input"`
			Faults []struct {
				Name string `xml:"name,attr"`
			} `xml:"fault"`
		} `xml:"portType>operation"`
		Messages []struct {
			Name string     `xml:"name,attr"`
			Part []struct{} `xml:"part"`
		} `xml:"message"`
	}
	require.NoError(t, xml.Unmarshal(b, &d))
	empty := map[string]bool{}
	for _, m := range d.Messages {
		empty[m.Name] = len(m.Part) == 0
	}
	require.Len(t, d.Operations, 74)
	for _, o := range d.Operations {
		op := Lookup(o.Name)
		require.NotNil(t, op, o.Name)
		require.Equal(t, o.Input.Action, op.Action())
		var faults []string
		for _, f := range o.Faults {
			faults = append(faults, f.Name)
		}
		slices.Sort(faults)
		require.Equal(t, faults, op.Faults, o.Name)
		require.Equal(t, empty[o.Name+"Request"], op.EmptyRequest(), o.Name)
		require.Equal(t, empty[o.Name+"Response"], op.Response == nil, o.Name)
	}
}

// enumerations are all of them, by their names in the contract.
func enumerations() map[string]any {
	return map[string]any{
		"AlarmStatusEnum": AlarmStatus(""), "AlarmTypeEnum": AlarmType(""), "BackingStoragePoolTypeEnum": BackingStoragePoolType(""),
		"BlockEnum": BlockProtocol(""), "EntityTypeEnum": EntityType(""), "EventConfigTypeEnum": EventConfigType(""),
		"EventPolicyTypeEnum": EventPolicyType(""), "EventTypeEnum": EventType(""), "FileSystemEnum": FileSystemKind(""),
		"FileSystemVersionEnum": FileSystemVersion(""), "PolicyEnum": PolicyObject(""), "ProfileEnum": ArrayProfile(""),
		"ProviderProfileEnum": ProviderProfile(""), "RemoteReplicationEnum": RemoteReplication(""), "StorageCatalogEnum": StorageCatalog(""),
		"BindContextEnum": BindContext(""), "InBandBindCapabilityEnum": InBandBindCapability(""), "ProtocolEndpointAuthEnum": ProtocolEndpointAuth(""),
		"ProtocolEndpointTypeEnum": ProtocolEndpointType(""), "SnapTypeEnum": SnapType(""), "TaskStateEnum": TaskState(""),
		"UnbindContextEnum": UnbindContext(""), "VirtualVolumeTypeEnum": VirtualVolumeType(""), "BuiltinGenericTypesEnum": BuiltinGenericType(""),
		"BuiltinTypesEnum": BuiltinType(""), "TimeUnitEnum": TimeUnit(""), "ComplianceStatusEnum": ComplianceStatus(""),
		"CounterCollectedTypeEnum": CounterCollectedType(""), "CounterNameEnum": CounterName(""), "CounterTypeEnum": CounterType(""), "CounterUnitEnum": CounterUnit(""),
	}
}

// TestEnumerationsAreTheContracts compares values and their order.
func TestEnumerationsAreTheContracts(t *testing.T) {
	all := enumerations()
	require.Len(t, all, 31)
	for _, ns := range namespaces() {
		for _, s := range readSchema(t, ns.Prefix+".xsd").Simple {
			e := all[s.Name]
			require.NotNil(t, e, s.Name)
			var got, want []string
			values := reflect.ValueOf(e).MethodByName("Values").Call(nil)[0]
			for i := range values.Len() {
				got = append(got, values.Index(i).String())
			}
			for _, v := range s.Values {
				want = append(want, v.Value)
			}
			require.Equal(t, want, got, s.Name)
			delete(all, s.Name)
		}
	}
	require.Empty(t, all)
}

func TestValid(t *testing.T) {
	require.True(t, Valid(BindContextRebindStart))
	require.False(t, Valid(BindContext("RebindEnd")))
	require.False(t, Valid(TaskState("")))
}
