package schema

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const envelope = `<?xml version="1.0"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:svc="http://com.vmware.vim.vasa/2.0/xsd"><soap:Body>%s</soap:Body></soap:Envelope>`

func TestDocumentIn(t *testing.T) {
	fault := `<soap:Fault><faultcode>soap:Server</faultcode><faultstring>no (request 1)</faultstring>%s</soap:Fault>`
	for in, want := range map[string]string{
		"":                     "",
		"<svc:getTaskUpdate/>": "<svc:getTaskUpdate",
		fmt.Sprintf(fault, ""): "",
		fmt.Sprintf(fault, "<detail><svc:NotFound/></detail>"):                      "<svc:NotFound",
		`<soap:Fault><soap:Detail><svc:NotFound a="b"/></soap:Detail></soap:Fault>`: "<svc:NotFound",
	} {
		got := DocumentIn(fmt.Sprintf(envelope, in))
		require.Equal(t, want != "", got != "", "%s: %s", in, got)
		require.True(t, strings.HasPrefix(got, want), "%s: %s", in, got)
		require.Equal(t, want != "", strings.Contains(got, "xmlns:svc="), got)
	}
}

// told stands for a test that fails.
type told struct {
	testing.TB
	errors  []string
	cleanup func()
}

func (t *told) Errorf(format string, args ...any) {
	t.errors = append(t.errors, fmt.Sprintf(format, args...))
}
func (t *told) Cleanup(f func()) { t.cleanup = f }

// TestValidator: a wrong document fails its test, also when right ones came before and after
// it, of the same name.
func TestValidator(t *testing.T) {
	if _, err := File(); err != nil {
		t.Skip(err)
	}
	answer := func(s string) []byte {
		return fmt.Appendf(nil, envelope, `<svc:requestCSRResponse><svc:return>`+s+`</svc:return></svc:requestCSRResponse>`)
	}
	for name, x := range map[string]struct {
		add   [][]byte
		total int
		wrong string
	}{
		"right":      {[][]byte{answer("a"), answer("b"), answer("a"), nil}, 2, ""},
		"wrong":      {[][]byte{answer("a"), fmt.Appendf(nil, envelope, `<svc:requestCSRResponse><svc:novelty/></svc:requestCSRResponse>`), answer("b")}, 3, "novelty"},
		"no element": {[][]byte{fmt.Appendf(nil, envelope, `<svc:formatArray/>`)}, 1, "formatArray"},
	} {
		t.Run(name, func(t *testing.T) {
			to := &told{TB: t}
			v := New(to)
			for _, e := range x.add {
				v.Add("requestCSR", e)
			}
			require.Equal(t, x.total, v.total)
			to.cleanup()
			if x.wrong == "" {
				require.Empty(t, to.errors)
				return
			}
			require.Len(t, to.errors, 1)
			require.Contains(t, to.errors[0], x.wrong)
		})
	}
	to := &told{TB: t}
	v := New(to)
	for i := range batchDocuments + 1 {
		v.Add("requestCSR", answer(fmt.Sprint(i)))
	}
	require.Len(t, v.files, 1, "the bound")
	to.cleanup()
	require.Empty(t, to.errors)
	require.Equal(t, batchDocuments+1, v.total)
}

// TestMissing: without a schema there is no validator, and nothing breaks.
func TestMissing(t *testing.T) {
	t.Setenv("VVSIM_VASA_XSD", "/nowhere/all.xsd")
	_, err := File()
	require.ErrorContains(t, err, "VVSIM_VASA_XSD")
	v := New(t)
	require.Nil(t, v)
	v.Add("requestCSR", fmt.Appendf(nil, envelope, "<svc:formatArray/>"))
}
