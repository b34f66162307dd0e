package e2e

import (
	"context"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/test/process"
	"vvsim/test/schema"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/vasatest/blocks"
)

// movingIO does the exercise's I/O through the portal of the array that runs now.
type movingIO struct{ now *blocks.IO }

func (m *movingIO) Write(ctx context.Context, a vasatest.Access, offset uint64, p []byte) error {
	return m.now.Write(ctx, a, offset, p)
}

func (m *movingIO) Read(ctx context.Context, a vasatest.Access, offset uint64, p []byte) error {
	return m.now.Read(ctx, a, offset, p)
}

// validated has the schema judge all answers of a test, where it is at hand.
func validated(t *testing.T) func(vasatest.Exchange) {
	v := schema.New(t)
	return func(x vasatest.Exchange) { v.Add(x.Operation, x.Response) }
}

// TestExercise goes through the life of a VM over SOAP and iSCSI, with kill -9 of the
// array between every two steps: handles, metadata, policies and contents are as they
// were told, and no intent is left behind.
func TestExercise(t *testing.T) {
	if process.Program() == "" {
		t.Skip("needs the program at VVSIM_BIN: run make e2e")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := ln.Addr().String() // the provider's URL outlives the array
	require.NoError(t, ln.Close())
	dir, io := t.TempDir(), &movingIO{}
	var a *process.Array
	start := func() {
		a = process.Start(t, dir, "--vasa", address)
		if io.now != nil {
			io.now.Close()
		}
		io.now = blocks.New(a.Variable("VVSIM_ISCSI"), a.Variable("VVSIM_IQN"))
	}
	start()
	kills := 0
	lines, err := vasatest.Run(t.Context(), vasatest.ExerciseOptions{URL: a.Variable("VVSIM_VASA_URL"), User: a.Variable("VVSIM_VASA_USER"),
		Password: a.Variable("VVSIM_VASA_PASSWORD"), KeepCertificate: true, IO: io, Seen: validated(t),
		Between: func(context.Context, string, string) error {
			require.Error(t, a.End(syscall.SIGKILL))
			start()
			kills++
			a.Run("doctor")
			return nil
		}})
	require.NoError(t, err)
	require.Equal(t, len(vasatest.Steps())-1, kills)
	require.Len(t, lines, len(vasatest.Steps())+1, "and the clean-up")
	require.JSONEq(t, "[]", a.Run("vvol", "list", "-o", "json"), "nothing of the exercise is left")
	require.JSONEq(t, "[]", a.Run("binding", "list", "-o", "json"))
	io.now.Close()
	require.NoError(t, a.End(syscall.SIGTERM))
}
