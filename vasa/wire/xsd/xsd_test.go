package xsd

import (
	"encoding/xml"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A schema of two namespaces: animals, and what they eat.
type (
	Animal struct {
		Name string     `vasa:"name,1"`
		Born *time.Time `vasa:"born,?~"`
	}
	Cat struct {
		Animal
		Lives int32  `vasa:"lives,1"`
		Prey  []Food `vasa:"prey,*"`
	}
	Food struct {
		Grams int64  `vasa:"grams,1"`
		Blob  []byte `vasa:"blob,1"`
		Note  any    `vasa:"note,?~"`
	}
	AnyAnimal interface{ Base() *Animal }
	Zoo       struct {
		Open    bool        `vasa:"open,1"`
		Animals []AnyAnimal `vasa:"animal,+"`
		Star    AnyAnimal   `vasa:"star,?"`
		Notes   []any       `vasa:"note,*~"`
	}
)

func (a *Animal) Base() *Animal { return a }

const (
	zooURI  = "urn:zoo"
	foodURI = `urn:food"&<>`
)

func zoo(t testing.TB) *Schema {
	s, err := Compile([]Namespace{
		{Prefix: "z", URI: zooURI, Types: []any{Animal{}, Cat{}}, Elements: []any{Zoo{}}},
		{Prefix: "f", URI: foodURI, Types: []any{Food{}}},
	})
	require.NoError(t, err)
	return s
}

func write(t testing.TB, v any) (string, error) {
	e := zoo(t).NewEncoder()
	err := e.Element(xml.Name{Space: zooURI, Local: "zoo"}, v)
	return strings.Replace(string(e.Bytes()), "<z:zoo", "<z:zoo"+e.Declarations(), 1), err
}

func read(t testing.TB, doc string, o Options) (*Zoo, []Finding, error) {
	r, err := zoo(t).NewReader([]byte(doc), o)
	if err != nil {
		return nil, nil, err
	}
	el, err := r.Root()
	if err != nil {
		return nil, nil, err
	}
	v := &Zoo{}
	if err := r.Decode(el, v); err != nil {
		return nil, nil, err
	}
	found, _ := r.Findings()
	return v, found, r.End()
}

func TestElements(t *testing.T) {
	born := time.Date(2020, 2, 29, 1, 2, 3, 500_000_000, time.UTC)
	want := &Zoo{Open: true, Animals: []AnyAnimal{
		&Animal{Name: "a"},
		&Cat{Animal: Animal{Name: "b<&>\r", Born: &born}, Lives: -9, Prey: []Food{{Grams: 1, Blob: []byte{1, 2}}}},
	}, Notes: []any{"", &Food{Blob: []byte{}, Note: math.Inf(-1)}, Raw{xml.Name{Space: "urn:x\n\t", Local: "y"}, "z"}}}
	const text = `<z:zoo xmlns:z="urn:zoo" xmlns:f="urn:food&#34;&amp;&lt;&gt;" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">` +
		`<z:open>true</z:open><z:animal><z:name>a</z:name></z:animal>` +
		`<z:animal xsi:type="z:Cat"><z:name>b&lt;&amp;&gt;&#13;</z:name><z:born>2020-02-29T01:02:03.5Z</z:born><z:lives>-9</z:lives>` +
		`<z:prey><f:grams>1</f:grams><f:blob>AQI=</f:blob></z:prey></z:animal>` +
		`<z:note xsi:type="xs:string"/><z:note xsi:type="f:Food"><f:grams>0</f:grams><f:blob/><f:note xsi:type="xs:double">-INF</f:note></z:note>` +
		`<z:note xmlns:raw="urn:x&#10;&#9;" xsi:type="raw:y">z</z:note></z:zoo>`
	got, err := write(t, want)
	require.NoError(t, err)
	require.Equal(t, text, got)
	back, found, err := read(t, text, Options{})
	require.NoError(t, err)
	require.Equal(t, want, back)
	require.Equal(t, []Finding{{UnknownType, "zoo/note[2]", xml.Name{Space: "urn:x\n\t", Local: "y"}}}, found)
}

// TestNotWritten holds what is no document of the schema.
func TestNotWritten(t *testing.T) {
	animals := []AnyAnimal{&Animal{}}
	for _, c := range []struct {
		v    any
		text string
	}{
		{&Zoo{}, "zoo/animal: at least one is needed"},
		{(*Zoo)(nil), "zoo: nil *xsd.Zoo"},
		{struct{}{}, "zoo: struct {} is not in the schema"},
		{&Zoo{Animals: []AnyAnimal{nil}}, "zoo/animal[0]: nil"},
		{&Zoo{Animals: []AnyAnimal{(*Cat)(nil)}}, "zoo/animal[0]: nil"},
		{&Zoo{Animals: []AnyAnimal{&Zebra{}}}, "zoo/animal[0]: *xsd.Zebra is no type of the schema"},
		{&Zoo{Animals: []AnyAnimal{&Animal{Name: "\x00"}}}, "zoo/animal[0]/name: text that XML cannot carry"},
		{&Zoo{Animals: []AnyAnimal{&Animal{Name: "\xFF"}}}, "zoo/animal[0]/name: text that XML cannot carry"},
		{&Zoo{Animals: []AnyAnimal{&Animal{Name: "\uFFFE"}}}, "zoo/animal[0]/name: text that XML cannot carry"},
		{&Zoo{Animals: []AnyAnimal{&Animal{Born: new(time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC))}}}, "zoo/animal[0]/born: year 0 does not fit xs:dateTime"},
		{&Zoo{Animals: animals, Notes: []any{nil}}, "zoo/note[0]: nil"},
		{&Zoo{Animals: animals, Notes: []any{1}}, "zoo/note[0]: int cannot stand for xs:anyType"},
		{&Zoo{Animals: animals, Notes: []any{Food{}}}, "zoo/note[0]: xsd.Food cannot stand for xs:anyType"},
		{&Zoo{Animals: animals, Notes: []any{&Zoo{}}}, "zoo/note[0]: *xsd.Zoo cannot stand for xs:anyType"},
		{&Zoo{Animals: animals, Notes: []any{Raw{xml.Name{Space: SchemaURI, Local: "string"}, ""}}}, "cannot be that of a raw value"},
		{&Zoo{Animals: animals, Notes: []any{Raw{xml.Name{Space: foodURI, Local: "Food"}, ""}}}, "cannot be that of a raw value"},
		{&Zoo{Animals: animals, Notes: []any{Raw{xml.Name{Local: "a b"}, ""}}}, "cannot be that of a raw value"},
		{&Zoo{Animals: animals, Notes: []any{&Food{Note: "\x01"}}}, "zoo/note[0]/note: text that XML cannot carry"},
	} {
		_, err := write(t, c.v)
		require.ErrorContains(t, err, c.text)
	}
	e := zoo(t).NewEncoder()
	require.ErrorContains(t, e.Element(xml.Name{Space: "urn:other", Local: "zoo"}, &Zoo{}), "not in the schema")
}

// Zebra is in no schema.
type Zebra struct{ Animal }

func TestAnyValues(t *testing.T) {
	wrap := func(note string) string {
		return `<zoo xmlns="urn:zoo" xmlns:x="` + SchemaURI + `" xmlns:i="` + InstanceURI + `"><open>1</open><animal><name/></animal>` + note + `</zoo>`
	}
	for note, want := range map[string]any{
		`<note>a</note>`:                                              "a",
		`<note i:type="x:string"> a </note>`:                          " a ",
		`<note i:type=" x:boolean "> 0 </note>`:                       false,
		`<note i:type="x:int">+7</note>`:                              int32(7),
		`<note i:type="x:long">-7</note>`:                             int64(-7),
		`<note i:type="x:double">1e3</note>`:                          1000.0,
		`<note i:type="x:dateTime">2024-01-01T01:00:00+01:00</note>`:  time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC),
		`<note i:type="x:base64Binary"> A Q I = </note>`:              []byte{1, 2},
		`<note i:type="x:duration">P1D</note>`:                        Raw{xml.Name{Space: SchemaURI, Local: "duration"}, "P1D"},
		`<note i:type="Animal"><name>n</name></note>`:                 &Animal{Name: "n"},
		`<note i:type="Zoo">n</note>`:                                 Raw{xml.Name{Space: zooURI, Local: "Zoo"}, "n"},
		`<note xmlns:y="urn:y" i:type="y:T">n<more>m</more></note>`:   Raw{xml.Name{Space: "urn:y", Local: "T"}, "n"},
		`<note><![CDATA[<a>]]>&lt;b</note>`:                           "<a><b",
		`<note i:type="Cat"><name>n</name><lives>9</lives></note>`:    &Cat{Animal: Animal{Name: "n"}, Lives: 9},
		`<note xmlns="urn:zoo" i:nil="false" i:type="x:int">1</note>`: int32(1),
	} {
		v, _, err := read(t, wrap(note), Options{})
		require.NoError(t, err, note)
		require.Equal(t, []any{want}, v.Notes, note)
	}
	for _, note := range []string{`<note i:type="x:int">2147483648</note>`, `<note i:type="x:boolean">yes</note>`, `<note i:type="x:double">0x1p1</note>`,
		`<note i:type="x:double">Infinity</note>`, `<note i:type="x:base64Binary">A</note>`, `<note i:type="x:dateTime">2024-01-01</note>`,
		`<note i:type="q:T">a</note>`, `<note i:type="a:b:c">a</note>`, `<note i:type="">a</note>`, `<note i:nil="maybe">a</note>`} {
		_, _, err := read(t, wrap(note), Options{})
		var e *Error
		require.ErrorAs(t, err, &e, note)
		require.Equal(t, Syntax, e.Kind)
		require.Equal(t, "zoo/note", strings.TrimSuffix(e.Path, "[0]"))
	}
}

func TestTimes(t *testing.T) {
	for s, want := range map[string]string{
		"2024-02-29T23:59:59Z":           "2024-02-29T23:59:59Z",
		"2024-02-29T23:59:59":            "2024-02-29T23:59:59Z",
		" 2024-02-29T23:59:59.120+02:30": "2024-02-29T21:29:59.12Z",
		"0001-01-01T00:00:00Z":           "0001-01-01T00:00:00Z",
		"2024-01-01T00:00:00.0000000001": "2024-01-01T00:00:00Z",
	} {
		got, err := parseTime(s)
		require.NoError(t, err, s)
		text, err := formatTime(got)
		require.NoError(t, err)
		require.Equal(t, want, text)
	}
	for _, s := range []string{"", "2024-02-30T00:00:00Z", "2024-02-29 00:00:00Z", "2024-02-29T0:00:00Z", "2024-02-29T00:00:00,5Z", "2024-02-29T00:00:00.Z", "24-02-29T00:00:00Z",
		"-2024-02-29T00:00:00Z", "12024-02-29T00:00:00Z", "2024-02-29T00:00:00z", "2024-02-29T00:00:00+2:30", "2024-02-29T25:00:00Z", "0001-01-01T00:00:00+01:00", "2024-02-29T00:00:00.5X",
		"2024-02-29T00:00:00+99:00", "2024-02-29T00:00:00.5é", "9999-12-31T23:59:59-01:00"} {
		_, err := parseTime(s)
		require.ErrorIs(t, err, errSyntax, s)
	}
}

func TestDoubles(t *testing.T) {
	for _, f := range []float64{0, math.Copysign(0, -1), 1.5e300, -5e-324, math.MaxFloat64, math.Inf(1), math.Inf(-1)} {
		got, err := parseDouble(formatDouble(f))
		require.NoError(t, err)
		require.Equal(t, math.Float64bits(f), math.Float64bits(got), "%v", f)
	}
	nan, err := parseDouble(formatDouble(math.NaN()))
	require.NoError(t, err)
	require.True(t, math.IsNaN(nan))
	for _, s := range []string{"", "+INF", "inf", "nan", "1_0", "0x10", "1e999", "1,5"} {
		_, err := parseDouble(s)
		require.ErrorIs(t, err, errSyntax, s)
	}
}

// TestFindingsAreBounded also holds that what a document says at length is cut.
func TestFindingsAreBounded(t *testing.T) {
	long := strings.Repeat("x", 1000)
	doc := `<zoo xmlns="urn:zoo">` + strings.Repeat("<"+long+"/>", 3*MaxFindings) + `</zoo>`
	r, err := zoo(t).NewReader([]byte(doc), Options{})
	require.NoError(t, err)
	el, err := r.Root()
	require.NoError(t, err)
	var e *Error
	require.ErrorAs(t, r.Decode(el, &Zoo{}), &e)
	require.Equal(t, Error{Kind: Missing, Path: "zoo/open"}, *e)
	found, more := r.Findings()
	require.Len(t, found, MaxFindings)
	require.Equal(t, 2*MaxFindings, more)
	require.Less(t, len(found[0].Path)+len(found[0].Name.Local), 4*maxShown)
}

func TestPrefixesAreBounded(t *testing.T) {
	var attrs strings.Builder
	for range MaxBindings / 2 {
		attrs.WriteString(` xmlns:a="b"`)
	}
	_, _, err := read(t, `<zoo xmlns="urn:zoo"`+attrs.String()+`><a`+attrs.String()+`/></zoo>`, Options{})
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, TooLarge, e.Kind)
	// Prefixes end with their element.
	_, _, err = read(t, `<zoo xmlns="urn:zoo">`+strings.Repeat(`<a`+attrs.String()+`/>`, 5)+`</zoo>`, Options{})
	require.ErrorAs(t, err, &e)
	require.Equal(t, Missing, e.Kind)
	_, _, err = read(t, `<zoo xmlns="urn:zoo"><open>1</open><animal><name/></animal><a xmlns:q="urn:zoo"/><star xmlns:i="`+InstanceURI+`" i:type="q:Cat"><name/></star></zoo>`, Options{})
	require.ErrorAs(t, err, &e)
	require.Equal(t, Syntax, e.Kind)
}

// TestErrorsHoldNoText makes sure that a secret in a bad document does not reach a log.
func TestErrorsHoldNoText(t *testing.T) {
	for _, doc := range []string{
		`<zoo xmlns="urn:zoo"><open>secret</open></zoo>`, `<zoo xmlns="urn:zoo"><open>&secret;</open></zoo>`, `<zoo xmlns="urn:zoo">secret`,
		`<zoo xmlns="urn:zoo" a="secret"><open>`, `<zoo a="secret<"`, `secret<zoo/>`, `<zoo xmlns="urn:zoo"><open>1</open></zoo>secret`,
		`<zoo xmlns="urn:zoo"><open><![CDATA[secret`, `<zoo xmlns="urn:zoo"><!--secret--secret-->`, `<?xml version="1.0" encoding="secret"?><zoo/>`, `<?xml version="secret"?><zoo/>`,
		`<zoo xmlns="urn:zoo"><open>secret</zoo>`, `<zoo a=secret>`, `<zoo>&#secret;</zoo>`, "<zoo>secret\x01</zoo>",
	} {
		_, _, err := read(t, doc, Options{})
		require.Error(t, err, doc)
		require.NotContains(t, err.Error(), "secret", doc)
	}
}

func TestRawText(t *testing.T) {
	const doc = "\uFEFF<a> <b x='1'><c/>d</b ><e/></a>"
	r, err := zoo(t).NewReader([]byte(doc), Options{})
	require.NoError(t, err)
	_, err = r.Root()
	require.NoError(t, err)
	for _, want := range []string{"<b x='1'><c/>d</b >", "<e/>"} {
		el, err := r.Child()
		require.NoError(t, err)
		raw, err := r.Raw(el)
		require.NoError(t, err)
		require.Equal(t, want, string(raw))
	}
	el, err := r.Child()
	require.NoError(t, err)
	require.Nil(t, el)
	require.NoError(t, r.End())
}

func TestAppendText(t *testing.T) {
	require.Equal(t, "a&lt;\uFFFDb\uFFFD\n", string(AppendText(nil, "a<\x00b\xFF\n")))
}

// TestCompile holds mistakes in structs.
func TestCompile(t *testing.T) {
	type noTag struct{ A string }
	type badTag struct {
		A string `vasa:"a"`
	}
	type badName struct {
		A string `vasa:"a b,1"`
	}
	type badCardinality struct {
		A string `vasa:"a,2"`
	}
	type noPointer struct {
		A string `vasa:"a,?"`
	}
	type noSlice struct {
		A string `vasa:"a,*"`
	}
	type badType struct {
		A int `vasa:"a,1"`
	}
	type stranger struct {
		A Zebra `vasa:"a,1"`
	}
	type openInterface struct {
		A error `vasa:"a,1"`
	}
	type twice struct {
		A string `vasa:"a,1"`
		B string `vasa:"a,1"`
	}
	type strangeParent struct{ Zebra }
	for v, text := range map[any]string{
		noTag{}: "has no tag", badTag{}: "is not name,cardinality", badName{}: "is not name,cardinality", badCardinality{}: "none of 1 ? * +",
		noPointer{}: "not a pointer", noSlice{}: "not a slice", badType{}: "no type of XML Schema", stranger{}: "not in the schema",
		openInterface{}: "not in the schema", twice{}: "element a twice", strangeParent{}: "in no namespace", "text": "not a struct", Animal{}: "listed twice",
	} {
		_, err := Compile([]Namespace{{Prefix: "z", URI: zooURI, Types: []any{Animal{}, v}}})
		require.ErrorContains(t, err, text)
	}
	_, err := Compile(make([]Namespace, maxNamespaces-1))
	require.ErrorContains(t, err, "namespaces")
}

// TestUse holds misuse of a reader: it is an error, not a panic.
func TestUse(t *testing.T) {
	r, err := zoo(t).NewReader([]byte(`<zoo xmlns="urn:zoo"/>`), Options{})
	require.NoError(t, err)
	el, err := r.Root()
	require.NoError(t, err)
	for _, v := range []any{nil, Zoo{}, (*Zoo)(nil), new(int), &Zebra{}} {
		var e *Error
		require.True(t, errors.As(r.Decode(el, v), &e))
		require.Equal(t, WrongType, e.Kind)
	}
	_, err = zoo(t).NewReader(make([]byte, MaxBody+1), Options{})
	require.ErrorContains(t, err, "over a limit")
}

// FuzzTime parses anything; what is a time is written and read as the same.
func FuzzTime(f *testing.F) {
	f.Add("2024-02-29T23:59:59.120+02:30")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseTime(s)
		if err != nil {
			return
		}
		text, err := formatTime(got)
		require.NoError(t, err)
		again, err := parseTime(text)
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}
