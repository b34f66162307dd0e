package schema

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Limits of what is kept for one call of xmllint, and of that call.
const (
	batchDocuments = 256
	batchBytes     = 8 << 20
	lintLimit      = time.Minute
)

// maxKnown is how many documents of one test are told apart; the next are validated however
// often they come.
const maxKnown = 1 << 16

// File is the schema: VVSIM_VASA_XSD, or beside the checkout. The error says what is missing
// to validate against it.
func File() (string, error) {
	path := os.Getenv("VVSIM_VASA_XSD")
	if path == "" {
		root, err := os.Getwd()
		for err == nil && root != filepath.Dir(root) {
			if _, none := os.Stat(filepath.Join(root, "go.mod")); none == nil {
				break
			}
			root = filepath.Dir(root)
		}
		path = filepath.Join(root, "..", "shared", "reference", "vasa-wsdl", "2.0-reconstructed", "all.xsd")
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the schema is not at hand (set VVSIM_VASA_XSD to its all.xsd): %w", err)
	}
	if _, err := exec.LookPath("xmllint"); err != nil {
		return "", fmt.Errorf("xmllint is not installed (Debian has it in libxml2-utils): %w", err)
	}
	return path, nil
}

// Lint validates files against a schema. The error holds what xmllint said.
func Lint(schema string, files ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), lintLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "xmllint", append([]string{"--noout", "--schema", schema}, files...)...).CombinedOutput()
	if n := strings.Count(string(out), " validates\n"); err == nil && n != len(files) {
		err = fmt.Errorf("%d of %d documents validate", n, len(files))
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// missing is why a test binary does not validate, said when it is first asked for.
var missing = sync.OnceValue(func() error {
	_, err := File()
	fmt.Fprintf(os.Stderr, "answers are NOT validated: %v\n", err)
	return err
})

// Validator validates the documents of one test, each once, however often it came. The nil
// Validator validates nothing. Safe for concurrent use.
type Validator struct {
	t      testing.TB
	schema string
	dir    string

	mu    sync.Mutex // guards what follows
	known map[[sha256.Size]byte]struct{}
	files []string // of the batch
	bytes int      // of them
	total int
}

// New makes the Validator of a test, and ends it when the test is over: an envelope that is
// not valid fails the test. It is nil for benchmarks and fuzz tests, which judge something
// else, and where there is no schema, which it says once.
func New(t testing.TB) *Validator {
	switch t.(type) {
	case *testing.B, *testing.F:
		return nil
	}
	path, err := File()
	if err != nil {
		_ = missing() // it has been said
		return nil
	}
	v := &Validator{t: t, schema: path, dir: t.TempDir(), known: map[[sha256.Size]byte]struct{}{}}
	t.Cleanup(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.lint()
		t.Logf("%d different answers validated", v.total)
	})
	return v
}

// Add validates an envelope, called name, sooner or later. An empty body is valid, and so is
// a fault without detail: the schema does not know of them.
func (v *Validator) Add(name string, envelope []byte) {
	if v == nil {
		return
	}
	body := DocumentIn(string(envelope))
	if body == "" {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	sum := sha256.Sum256([]byte(body)) // requests' ids are not in it
	if _, known := v.known[sum]; known {
		return
	}
	if len(v.known) < maxKnown {
		v.known[sum] = struct{}{}
	}
	v.total++
	file := filepath.Join(v.dir, fmt.Sprintf("%s.%d.xml", name, v.total))
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		v.t.Errorf("a document to validate: %v", err)
		return
	}
	v.files, v.bytes = append(v.files, file), v.bytes+len(body)
	if len(v.files) >= batchDocuments || v.bytes >= batchBytes {
		v.lint()
	}
}

// lint validates the batch, and begins the next one. The validator is locked.
func (v *Validator) lint() {
	if len(v.files) == 0 {
		return
	}
	if err := Lint(v.schema, v.files...); err != nil {
		v.t.Errorf("answers against the schema: %v", err)
	}
	for _, f := range v.files {
		_ = os.Remove(f) // the directory goes with the test
	}
	v.files, v.bytes = nil, 0
}

// DocumentIn is what the schema knows of an envelope as package wire writes it: the element
// in its body, or in the detail of its fault, with the envelope's declarations; "" for none.
func DocumentIn(envelope string) string {
	_, envelope, _ = strings.Cut(envelope, "<soap:Envelope")
	declarations, envelope, _ := strings.Cut(envelope, ">")
	for _, around := range []string{"soap:Body", "soap:Detail", "detail"} {
		if _, inner, ok := strings.Cut(envelope, "<"+around+">"); ok {
			envelope, _, _ = strings.Cut(inner, "</"+around+">")
		}
	}
	if strings.HasPrefix(envelope, "<soap:Fault") || !strings.HasPrefix(envelope, "<") {
		return ""
	}
	end := strings.IndexAny(envelope, " />")
	return envelope[:end] + declarations + envelope[end:]
}
