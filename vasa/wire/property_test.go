package wire

import (
	"encoding/xml"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// texts are hard for a codec of XML; any other text is letters, symbols and spaces.
func texts() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"", " ", "\r\n\t", "]]>", "<![CDATA[x]]>", "&amp;", `"'`, "\u0085\u2028", "\U0001F600", "-1"}),
		rapid.StringMatching(`[\pL\pS\pZ\pN]{0,12}`))
}

// draw fills a value: optional elements now and then, lists of up to three, any type that
// may stand somewhere.
func draw(t *rapid.T, v reflect.Value, depth int) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(drawTime(t)))
		return
	case v.Type() == reflect.TypeFor[[]byte]():
		v.SetBytes(append([]byte{}, rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes")...))
		return
	case v.Type() == reflect.TypeFor[any]():
		v.Set(reflect.ValueOf(drawAny(t, depth)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(texts().Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int32:
		v.SetInt(int64(rapid.Int32().Draw(t, "int")))
	case reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "long"))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		draw(t, v.Elem(), depth)
	case reflect.Interface:
		all := extensions[v.Type()]
		item := reflect.New(reflect.TypeOf(all[rapid.IntRange(0, len(all)-1).Draw(t, "type")]).Elem())
		draw(t, item.Elem(), depth+1)
		v.Set(item)
	case reflect.Struct:
		for i := range v.NumField() {
			drawField(t, v.Field(i), v.Type().Field(i), depth+1)
		}
	}
}

func drawField(t *rapid.T, v reflect.Value, f reflect.StructField, depth int) {
	tag := f.Tag.Get("vasa")
	_, cardinality, _ := strings.Cut(strings.TrimSuffix(tag, "~"), ",")
	n := 1
	switch cardinality {
	case "?":
		n = rapid.IntRange(0, 1).Draw(t, "set")
	case "*":
		n = rapid.IntRange(0, 3).Draw(t, "length")
	case "+":
		n = rapid.IntRange(1, 3).Draw(t, "length")
	}
	if depth > 12 && (cardinality == "?" || cardinality == "*") {
		n = 0
	}
	switch {
	case n == 0:
	case cardinality == "*" || cardinality == "+":
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			draw(t, v.Index(i), depth)
		}
	default:
		draw(t, v, depth)
	}
}

func drawTime(t *rapid.T) time.Time {
	first, last := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
	return time.Unix(rapid.Int64Range(first, last).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")).UTC()
}

func drawAny(t *rapid.T, depth int) any {
	kinds := 8
	if depth > 5 {
		kinds = 7
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return texts().Draw(t, "string")
	case 1:
		return rapid.Bool().Draw(t, "boolean")
	case 2:
		return rapid.Int32().Draw(t, "int")
	case 3:
		return rapid.Int64().Draw(t, "long")
	case 4:
		return rapid.Float64().Filter(func(f float64) bool { return !math.IsNaN(f) }).Draw(t, "double")
	case 5:
		return drawTime(t)
	case 6:
		names := []xml.Name{xmlName("urn:other", "T"), xmlName("", "T"), xmlName("http://www.w3.org/2001/XMLSchema", "duration"), xmlName(`urn:"<&>`, "Ö-1"), xmlName(faultURI, "Newer")}
		return Raw{Type: rapid.SampledFrom(names).Draw(t, "raw"), Text: texts().Draw(t, "text")}
	}
	var all []any
	for _, ns := range namespaces() {
		all = append(all, ns.Types...)
	}
	v := reflect.New(reflect.TypeOf(all[rapid.IntRange(0, len(all)-1).Draw(t, "struct")]))
	draw(t, v.Elem(), depth+1)
	return v.Interface()
}

// TestRoundTrip sends any value of any operation both ways in both versions.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		op := rapid.SampledFrom(Operations()).Draw(t, "operation")
		version := rapid.SampledFrom([]Version{SOAP11, SOAP12}).Draw(t, "version")
		want := reflect.New(op.Request)
		draw(t, want.Elem(), 0)
		b, err := EncodeRequest(version, want.Interface())
		require.NoError(t, err)
		req, err := DecodeRequest(b, op.Action(), Options{})
		require.NoError(t, err, "%s", b)
		require.Equal(t, want.Interface(), req.Value)
		require.Equal(t, version, req.Version)
		require.Empty(t, unexpected(req.Findings))

		if op.Response == nil {
			b, err := EncodeResponse(version, op, nil)
			require.NoError(t, err)
			resp, err := DecodeResponse(b, op, Options{Strict: true})
			require.NoError(t, err)
			require.Nil(t, resp.Value)
			return
		}
		want = reflect.New(op.Response)
		draw(t, want.Elem(), 0)
		b, err = EncodeResponse(version, op, want.Interface())
		require.NoError(t, err)
		resp, err := DecodeResponse(b, op, Options{})
		require.NoError(t, err, "%s", b)
		require.Equal(t, want.Interface(), resp.Value)
	})
}

// unexpected are findings other than about raw values.
func unexpected(found []Finding) (all []any) {
	all = []any{}
	for _, f := range found {
		if f.Kind != "unknown type" {
			all = append(all, f)
		}
	}
	return all
}

// golden adds the golden messages, each in an envelope, to the corpus.
func golden(f *testing.F, kind string) {
	files, err := filepath.Glob("testdata/*" + kind + ".xml")
	require.NoError(f, err)
	require.NotEmpty(f, files)
	for i, path := range files {
		b, err := os.ReadFile(path)
		require.NoError(f, err)
		v := Version(i % 2)
		body := `<e:Envelope xmlns:e="` + v.uri() + `"><e:Body>` + string(b) + `</e:Body></e:Envelope>`
		if strings.HasPrefix(filepath.Base(path), "fault") {
			body = `<e:Envelope xmlns:e="` + v.uri() + `"><e:Body><e:Fault><faultcode>e:Server</faultcode><faultstring>x</faultstring><detail>` + string(b) + `</detail></e:Fault></e:Body></e:Envelope>`
		}
		f.Add([]byte(body), strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".xml"), "Response"), i%3 == 0)
	}
}

// FuzzRequest reads anything; what can be read can be written, and is then read as the same.
func FuzzRequest(f *testing.F) {
	golden(f, "")
	f.Fuzz(func(t *testing.T, body []byte, action string, strict bool) {
		req, err := DecodeRequest(body, action, Options{Strict: strict})
		if err != nil {
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Nil(t, req.Value)
			return
		}
		require.LessOrEqual(t, len(req.Findings), 64)
		b, err := EncodeRequest(req.Version, req.Value)
		require.NoError(t, err)
		again, err := DecodeRequest(b, req.Operation.Action(), Options{})
		require.NoError(t, err, "%s", b)
		once, err := EncodeRequest(req.Version, again.Value) // NaN is not equal to itself, its text is
		require.NoError(t, err)
		require.Equal(t, string(b), string(once))
	})
}

// FuzzResponse does the same with responses and faults.
func FuzzResponse(f *testing.F) {
	golden(f, "")
	f.Fuzz(func(t *testing.T, body []byte, name string, strict bool) {
		op := Lookup(name)
		if op == nil {
			op = Lookup("setContext")
		}
		resp, err := DecodeResponse(body, op, Options{Strict: strict})
		var fault *SOAPFault
		if errors.As(err, &fault) {
			b, err := EncodeFault(resp.Version, fault)
			require.NoError(t, err)
			_, err = DecodeResponse(b, op, Options{})
			var again *SOAPFault
			require.ErrorAs(t, err, &again, "%s", b)
			require.Equal(t, fault.Reason, again.Reason)
			require.Equal(t, fault.Detail == nil, again.Detail == nil)
			return
		}
		if err != nil {
			var e *Error
			require.ErrorAs(t, err, &e)
			return
		}
		b, err := EncodeResponse(resp.Version, op, resp.Value)
		require.NoError(t, err)
		again, err := DecodeResponse(b, op, Options{})
		require.NoError(t, err, "%s", b)
		once, err := EncodeResponse(resp.Version, op, again.Value)
		require.NoError(t, err)
		require.Equal(t, string(b), string(once))
	})
}

func BenchmarkBind(b *testing.B) {
	req, err := EncodeRequest(SOAP11, populated(reflect.TypeFor[CreateVirtualVolume]()))
	require.NoError(b, err)
	resp := populated(reflect.TypeFor[BindVirtualVolumeResponse]())
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(req)))
		for b.Loop() {
			if _, err := DecodeRequest(req, "urn:createVirtualVolume", Options{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := EncodeResponse(SOAP11, Lookup("bindVirtualVolume"), resp); err != nil {
				b.Fatal(err)
			}
		}
	})
}
