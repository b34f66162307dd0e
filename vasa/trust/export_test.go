package trust

import (
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"
)

// WithOddEntries adds a root, a CRL and a client that cannot be parsed to a file.
func WithOddEntries(t *testing.T, file []byte) []byte {
	s, err := decodeState(file)
	require.NoError(t, err)
	odd := []byte{0x30, 3, 2, 1, 1}
	r := s.registrations[0]
	r.roots = append(r.roots, &known{print: sha256.Sum256(odd), der: odd})
	r.crls = append(r.crls, &list{print: sha256.Sum256(odd), der: odd})
	s.clients = append(s.clients, &client{known: known{der: odd}, owner: "odd"})
	file, err = s.encode()
	require.NoError(t, err)
	return file
}

// Remembered tells how many verdicts are kept.
func (s *Store) Remembered() (trusted, refused int) {
	v := s.view.Load()
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.trusted), len(v.refused)
}

// FillClients registers n clients whose certificates are bytes alone.
func (s *Store) FillClients(n int) {
	for i := range n {
		s.state.clients = append(s.state.clients, &client{known: known{print: fingerprint{byte(i), byte(i >> 8), 1}, der: []byte{byte(i), byte(i >> 8)}}})
	}
}
