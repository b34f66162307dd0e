package wire

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	schemas "vvsim/test/schema"
)

var update = flag.Bool("update", false, "write the golden messages anew")

// messages are all requests and responses with each field set, and all faults, by the
// names of their golden files. A nil value is an empty body.
func messages() map[string]any {
	all := map[string]any{}
	for _, op := range Operations() {
		all[op.Name], all[op.Name+"Response"] = nil, nil
		if !op.EmptyRequest() {
			all[op.Name] = populated(op.Request)
		}
		if op.Response != nil {
			all[op.Name+"Response"] = populated(op.Response)
		}
	}
	for _, f := range faults() {
		v := populated(reflect.TypeOf(f).Elem()).(Fault)
		v.exception().Exception = nil
		all["fault"+FaultName(f)] = v
	}
	return all
}

func faults() (all []Fault) {
	for _, ns := range namespaces() {
		for _, v := range ns.Types {
			if f, ok := reflect.New(reflect.TypeOf(v)).Interface().(Fault); ok && ns.URI == faultURI {
				all = append(all, f)
			}
		}
	}
	return all
}

// TestGolden compares what is written with the golden messages, and what is read from
// them with the values.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.xml")
	require.NoError(t, err)
	all := messages()
	if !*update {
		require.Len(t, files, len(all), "golden messages")
	}
	for name, v := range all {
		path := filepath.Join("testdata", name+".xml")
		var doc []byte
		if v != nil {
			doc = indent(document(t, name, v))
		}
		if *update {
			require.NoError(t, os.WriteFile(path, doc, 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(want), string(doc), name)
		readGolden(t, name, want, v)
	}
}

// document is a message as it stands in the body of an envelope.
func document(t *testing.T, name string, v any) []byte {
	s, err := schema()
	require.NoError(t, err)
	enc := s.NewEncoder()
	if f, ok := v.(Fault); ok {
		require.NoError(t, encodeDetail(enc, f))
	} else {
		require.NoError(t, enc.Element(xmlName(ServiceURI, name), v))
	}
	doc := enc.Bytes()
	i := bytes.IndexAny(doc, " />")
	return slices.Concat(doc[:i], []byte(enc.Declarations()), doc[i:])
}

// readGolden puts a golden message into an envelope of each version and reads it.
func readGolden(t *testing.T, name string, doc []byte, want any) {
	for _, v := range []Version{SOAP11, SOAP12} {
		start, end := `<e:Envelope xmlns:e="`+v.uri()+`"><e:Body>`, `</e:Body></e:Envelope>`
		if fault, ok := want.(Fault); ok {
			start, end = start+`<e:Fault><detail>`, `</detail></e:Fault>`+end
			_, err := DecodeResponse([]byte(start+string(doc)+end), Lookup("setContext"), Options{Strict: true})
			var got *SOAPFault
			require.ErrorAs(t, err, &got, name)
			require.Equal(t, fault, got.Detail)
			continue
		}
		body := []byte(start + string(doc) + end)
		if op := Lookup(strings.TrimSuffix(name, "Response")); op.Name != name {
			resp, err := DecodeResponse(body, op, Options{Strict: true})
			require.NoError(t, err, name)
			require.Equal(t, want, resp.Value)
			require.Equal(t, v, resp.Version)
			continue
		}
		req, err := DecodeRequest(body, "urn:"+name, Options{Strict: true})
		require.NoError(t, err, name)
		if want != nil {
			require.Equal(t, want, req.Value)
		}
		require.Equal(t, name, req.Operation.Name)
		require.Equal(t, v, req.Version)
	}
}

// indent puts each tag on a line of its own unless it ends an element without children.
// Text holds no raw < or >, so it stays as it is.
func indent(doc []byte) []byte {
	var out bytes.Buffer
	childless := true
	for i, tag := range bytes.SplitAfter(doc, []byte(">")) {
		end := bytes.HasPrefix(tag, []byte("</"))
		if i > 0 && bytes.HasPrefix(tag, []byte("<")) && !(end && childless) {
			out.WriteByte('\n')
		}
		out.Write(tag)
		childless = !bytes.Contains(tag, []byte("</")) && !bytes.HasSuffix(tag, []byte("/>"))
	}
	return append(out.Bytes(), '\n')
}

// schemaFile is the reconstructed schema of the contract, which is no part of the project.
func schemaFile(t *testing.T) string {
	path, err := schemas.File()
	if err != nil {
		t.Skip(err)
	}
	return path
}

// TestGoldenSchema validates every golden message.
func TestGoldenSchema(t *testing.T) {
	all := schemaFile(t)
	files, err := filepath.Glob("testdata/*.xml")
	require.NoError(t, err)
	files = slices.DeleteFunc(files, func(f string) bool {
		info, err := os.Stat(f)
		require.NoError(t, err)
		return info.Size() == 0
	})
	require.Len(t, files, 74-4+74-10+23, "messages that are not empty")
	require.NoError(t, schemas.Lint(all, files...))
}

func TestContract(t *testing.T) {
	require.Len(t, Operations(), 74)
	var emptyRequests, emptyResponses, v1 int
	for _, op := range Operations() {
		require.Same(t, op, Lookup(op.Name))
		require.Same(t, op, OperationOf(op.NewRequest()))
		require.True(t, op.Declares(&StorageFault{}) && op.Declares(&InvalidSession{}), op.Name)
		for _, f := range op.Faults {
			require.NotNil(t, newFault(t, f), "%s declares %s", op.Name, f)
		}
		if op.EmptyRequest() {
			emptyRequests++
		}
		if op.Response == nil {
			emptyResponses++
		}
		if op.InV1 {
			v1++
		}
	}
	require.Equal(t, []int{4, 10, 22}, []int{emptyRequests, emptyResponses, v1})
	require.Len(t, faults(), 23)
	types := 0
	for _, ns := range namespaces() {
		types += len(ns.Types)
	}
	require.Equal(t, 103, types)
}

func newFault(t *testing.T, name string) any {
	s, err := schema()
	require.NoError(t, err)
	return s.New(xmlName(faultURI, name))
}

// TestPopulated makes sure that the golden messages show every type that is on the wire.
func TestPopulated(t *testing.T) {
	var all strings.Builder
	for name := range messages() {
		b, err := os.ReadFile(filepath.Join("testdata", name+".xml"))
		require.NoError(t, err)
		all.Write(b)
	}
	for _, types := range extensions {
		s, err := schema()
		require.NoError(t, err)
		for _, v := range types[1:] {
			name, ok := s.TypeName(v)
			require.True(t, ok)
			require.Contains(t, all.String(), ":"+name.Local+`"`)
		}
	}
}
