package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"vvsim/scsi/iscsi/initiator"
)

// span is the part of the volume that a command means.
func span(c *cobra.Command, size int64) (off, n int64, err error) {
	o, err := parseSize(c.Flag("offset").Value.String())
	if err != nil {
		return 0, 0, wrongUsage(c, fmt.Errorf("--offset: %w", err))
	}
	if o > uint64(size) {
		return 0, 0, wrongUsage(c, fmt.Errorf("--offset: %d is beyond the end at %d", o, size))
	}
	n = size - int64(o)
	if text := c.Flag("length").Value.String(); text != "" {
		l, err := parseSize(text)
		if err != nil {
			return 0, 0, wrongUsage(c, fmt.Errorf("--length: %w", err))
		}
		if l > uint64(n) {
			return 0, 0, wrongUsage(c, fmt.Errorf("--length: %d bytes at %d are beyond the end at %d", l, o, size))
		}
		n = int64(l)
	}
	return int64(o), n, nil
}

func unitSpan(c *cobra.Command, u *initiator.Unit) (off, n int64, err error) {
	g, err := u.Geometry(c.Context())
	if err != nil {
		return 0, 0, err
	}
	return span(c, g.Size())
}

func ioRead(c *cobra.Command, u *initiator.Unit) error {
	off, n, err := unitSpan(c, u)
	if err != nil {
		return err
	}
	out, closeOut, err := output(c)
	if err != nil {
		return err
	}
	p := newProgress(n)
	defer p.end()
	buf := make([]byte, ioPiece)
	for n > 0 {
		part := buf[:min(n, ioPiece)]
		if err := readAround(c.Context(), u, part, off); err != nil {
			return errors.Join(err, closeOut())
		}
		if _, err := out.Write(part); err != nil {
			return errors.Join(err, closeOut())
		}
		off, n = off+int64(len(part)), n-int64(len(part))
		p.add(len(part))
	}
	return closeOut()
}

// readAround reads bytes that need not be aligned to logical blocks.
func readAround(ctx context.Context, u *initiator.Unit, p []byte, off int64) error {
	g, err := u.Geometry(ctx)
	if err != nil {
		return err
	}
	block := int64(g.BlockSize)
	first := off / block * block
	last := (off + int64(len(p)) + block - 1) / block * block
	if first == off && last == off+int64(len(p)) {
		_, err := u.ReadAt(ctx, p, off)
		return err
	}
	whole := make([]byte, last-first)
	if _, err := u.ReadAt(ctx, whole, first); err != nil {
		return err
	}
	copy(p, whole[off-first:])
	return nil
}

func ioWrite(c *cobra.Command, u *initiator.Unit) error {
	off, n, err := unitSpan(c, u)
	if err != nil {
		return err
	}
	in, closeIn, err := input(c)
	if err != nil {
		return err
	}
	fua, err := c.Flags().GetBool("fua")
	if err != nil {
		return err
	}
	p := newProgress(n)
	defer p.end()
	buf := make([]byte, ioPiece)
	for n > 0 {
		k, err := io.ReadFull(in, buf[:min(n, ioPiece)])
		if k > 0 {
			if werr := writeAround(c.Context(), u, buf[:k], off, fua); werr != nil {
				return errors.Join(werr, closeIn())
			}
			off, n = off+int64(k), n-int64(k)
			p.add(k)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			if c.Flags().Changed("length") {
				return errors.Join(fmt.Errorf("the input ends %d bytes before --length", n), closeIn())
			}
			return errors.Join(closeIn(), u.SynchronizeCache(c.Context(), 0, 0))
		}
		if err != nil {
			return errors.Join(err, closeIn())
		}
	}
	if k, err := in.Read(buf[:1]); k > 0 || err == nil {
		return errors.Join(errors.New("the input is longer than the place for it"), closeIn())
	}
	return errors.Join(closeIn(), u.SynchronizeCache(c.Context(), 0, 0))
}

// writeAround writes bytes that need not be aligned, keeping what is around them.
func writeAround(ctx context.Context, u *initiator.Unit, p []byte, off int64, fua bool) error {
	g, err := u.Geometry(ctx)
	if err != nil {
		return err
	}
	block := int64(g.BlockSize)
	first := off / block * block
	last := (off + int64(len(p)) + block - 1) / block * block
	if first != off || last != off+int64(len(p)) {
		whole := make([]byte, last-first)
		if _, err := u.ReadAt(ctx, whole, first); err != nil {
			return err
		}
		copy(whole[off-first:], p)
		p, off = whole, first
	}
	_, err = u.WriteAt(ctx, p, off, fua)
	return err
}

// ioVerify compares as much as the input has, or --length says.
func ioVerify(c *cobra.Command, u *initiator.Unit) error {
	off, n, err := unitSpan(c, u)
	if err != nil {
		return err
	}
	in, closeIn, err := input(c)
	if err != nil {
		return err
	}
	defer func() { _ = closeIn() }() // was only read
	fails := func(format string, args ...any) error {
		fmt.Fprintf(c.OutOrStdout(), format+"\n", args...)
		return errCheckFailed
	}
	p := newProgress(n)
	defer p.end()
	want, have := make([]byte, ioPiece), make([]byte, ioPiece)
	var done int64
	for {
		k, err := io.ReadFull(in, want[:min(n-done, ioPiece)])
		if k > 0 {
			if err := readAround(c.Context(), u, have[:k], off+done); err != nil {
				return err
			}
			if i := firstDifference(want[:k], have[:k]); i >= 0 {
				return fails("differs at byte %d", off+done+int64(i))
			}
			done += int64(k)
			p.add(k)
		}
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		switch {
		case err != nil && !ended:
			return err
		case ended && c.Flags().Changed("length") && done < n:
			return fails("the input ends %d bytes before --length", n-done)
		case ended && done == 0:
			return fails("the input is empty")
		case done == n && !c.Flags().Changed("length"):
			if k, err := in.Read(want[:1]); k > 0 || err == nil {
				return fails("the input is longer than the volume")
			}
		}
		if ended || done == n {
			fmt.Fprintf(c.OutOrStdout(), "%d bytes are equal\n", done)
			return nil
		}
	}
}

// firstDifference is the index of the first byte that differs, -1 for none.
func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	i := 0
	for a[i] == b[i] {
		i++
	}
	return i
}

func input(c *cobra.Command) (io.Reader, func() error, error) {
	name := c.Flag("file").Value.String()
	if name == "-" {
		return c.InOrStdin(), func() error { return nil }, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

func output(c *cobra.Command) (io.Writer, func() error, error) {
	name := c.Flag("file").Value.String()
	if name == "-" {
		return c.OutOrStdout(), func() error { return nil }, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}
