package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"vvsim/api"
	"vvsim/scsi"
	"vvsim/scsi/iscsi/initiator"
)

// defaultInitiator is the name that vvsim io logs in with.
const defaultInitiator = "iqn.2026-11.dev.vvsim:io"

// ioPiece is how many bytes one step of a long transfer moves.
const ioPiece = 1 << 20

func newIO() *cobra.Command {
	read := ioCommand("read", "Copy bytes of a volume to a file or standard output", ioRead)
	write := ioCommand("write", "Copy a file or standard input to a volume", ioWrite)
	verify := ioCommand("verify", "Compare a volume with a file or standard input; exit 4 when they differ", ioVerify)
	for _, c := range []*cobra.Command{read, write, verify} {
		c.Flags().String("file", "-", "file, - for standard input or output")
		c.Flags().String("offset", "0", "where in the volume to begin")
		c.Flags().String("length", "", "how much; to the end of the volume or file when not given")
	}
	write.Flags().Bool("fua", false, "each write on stable storage before it is answered")
	bench := ioCommand("bench", "Measure a volume; writes destroy what is there", ioBench)
	bench.Flags().Int("depth", 32, "commands in flight")
	bench.Flags().String("block", "4KiB", "size of one operation")
	bench.Flags().Int("reads", 100, "percentage of reads")
	bench.Flags().Bool("sequential", false, "one after the other instead of at random")
	bench.Flags().Duration("time", 5*time.Second, "how long")
	bench.Flags().Int("flush-every", 0, "SYNCHRONIZE CACHE after so many writes")
	bench.Flags().Bool("fua", false, "writes with FUA")
	bench.Flags().Bool("verify", false, "stamp what is written and compare what is read")
	return noun("io", "Read and write through a real iSCSI session", read, write, verify, bench)
}

func ioCommand(verb, short string, run func(*cobra.Command, *initiator.Unit) error) *cobra.Command {
	c := &cobra.Command{Use: verb + " (--vvol VVOL | --lun N)", Short: short, Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			unit, closeSession, err := openUnit(c)
			if err != nil {
				return err
			}
			return errors.Join(run(c, unit), closeSession())
		}}
	c.Flags().String("vvol", "", "volume, by id or unique name: bound when needed and reached by its subsidiary LUN")
	c.Flags().Int("lun", -1, "flat LUN")
	c.Flags().String("portal", "", "address of the portal (default: first of VVSIM_ISCSI, or 127.0.0.1:3260)")
	c.Flags().String("target", "", "target name (default: VVSIM_IQN, or what the portal reports)")
	c.Flags().String("initiator", defaultInitiator, "name to log in with")
	c.Flags().String("chap-user", "", "CHAP name; the secret is taken from VVSIM_ISCSI_CHAP_SECRET")
	return c
}

// openUnit logs in and finds the logical unit that the flags name.
func openUnit(c *cobra.Command) (*initiator.Unit, func() error, error) {
	ctx := c.Context()
	lun, err := chooseLUN(c)
	if err != nil {
		return nil, nil, err
	}
	o := initiator.Options{Address: c.Flag("portal").Value.String(), TargetName: c.Flag("target").Value.String(),
		InitiatorName: c.Flag("initiator").Value.String()}
	if o.Address == "" {
		o.Address, _, _ = strings.Cut(os.Getenv("VVSIM_ISCSI"), ",")
	}
	if o.Address == "" {
		o.Address = "127.0.0.1:3260"
	}
	if user := c.Flag("chap-user").Value.String(); user != "" {
		o.CHAP = &initiator.CHAP{User: user, Secret: []byte(os.Getenv("VVSIM_ISCSI_CHAP_SECRET"))}
	}
	if o.TargetName == "" {
		if o.TargetName, err = targetName(ctx, o); err != nil {
			return nil, nil, err
		}
	}
	s, err := initiator.Dial(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	u := s.Unit(lun)
	if _, err := u.ClearAttentions(ctx); err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return u, func() error { return errors.Join(s.Logout(context.WithoutCancel(ctx)), s.Close()) }, nil
}

func targetName(ctx context.Context, o initiator.Options) (string, error) {
	if name := os.Getenv("VVSIM_IQN"); name != "" {
		return name, nil
	}
	o.Discovery = true
	found, err := initiator.Discover(ctx, o)
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%s reports %d targets; --target says which", o.Address, len(found))
	}
	return found[0].Name, nil
}

// chooseLUN is the flat LUN, or that of the volume's binding.
func chooseLUN(c *cobra.Command) (lun scsi.LUN, err error) {
	ref := c.Flag("vvol").Value.String()
	n, err := c.Flags().GetInt("lun")
	switch {
	case err != nil:
		return lun, err
	case (ref == "") == (n < 0):
		return lun, usageError{errors.New("one of --vvol and --lun is needed")}
	case ref == "" && n > scsi.MaxSimpleLUN:
		return lun, usageError{fmt.Errorf("--lun: %d is above %d", n, scsi.MaxSimpleLUN)}
	case ref == "":
		return scsi.DiskLUN(uint16(n)), nil
	}
	b, err := call[api.Binding](c.Context(), http.MethodPost, "/bindings",
		map[string]any{"vvol": ref, "initiator": c.Flag("initiator").Value.String()})
	if err != nil {
		return lun, err
	}
	return scsi.ParseLUN(b.LUN)
}

// span is the part of the volume that a command means.
func span(c *cobra.Command, size int64) (off, n int64, err error) {
	o, err := parseSize(c.Flag("offset").Value.String())
	if err != nil {
		return 0, 0, err
	}
	if int64(o) > size {
		return 0, 0, fmt.Errorf("offset %d is beyond the end at %d", o, size)
	}
	n = size - int64(o)
	if text := c.Flag("length").Value.String(); text != "" {
		l, err := parseSize(text)
		if err != nil {
			return 0, 0, err
		}
		if l > uint64(n) {
			return 0, 0, fmt.Errorf("%d bytes at %d are beyond the end at %d", l, o, size)
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

func ioVerify(c *cobra.Command, u *initiator.Unit) error {
	off, n, err := unitSpan(c, u)
	if err != nil {
		return err
	}
	in, closeIn, err := input(c)
	if err != nil {
		return err
	}
	defer closeIn()
	want, have := make([]byte, ioPiece), make([]byte, ioPiece)
	var done int64
	for n > 0 {
		k, err := io.ReadFull(in, want[:min(n, ioPiece)])
		if k > 0 {
			if err := readAround(c.Context(), u, have[:k], off); err != nil {
				return err
			}
			if !bytes.Equal(want[:k], have[:k]) {
				i := 0
				for want[i] == have[i] {
					i++
				}
				fmt.Fprintf(c.OutOrStdout(), "differs at byte %d\n", off+int64(i))
				return errCheckFailed
			}
			off, n, done = off+int64(k), n-int64(k), done+int64(k)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(c.OutOrStdout(), "%d bytes are equal\n", done)
	return nil
}

func ioBench(c *cobra.Command, u *initiator.Unit) error {
	block, err := parseSize(c.Flag("block").Value.String())
	if err != nil {
		return err
	}
	l := initiator.Load{BlockSize: int(min(block, 1<<24)), Seed: uint64(time.Now().UnixNano())}
	f := c.Flags()
	var errs [6]error
	l.QueueDepth, errs[0] = f.GetInt("depth")
	l.ReadPercent, errs[1] = f.GetInt("reads")
	l.Duration, errs[2] = f.GetDuration("time")
	l.FlushEvery, errs[3] = f.GetInt("flush-every")
	l.FUA, errs[4] = f.GetBool("fua")
	l.Verify, errs[5] = f.GetBool("verify")
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	if sequential, err := f.GetBool("sequential"); err == nil && sequential {
		l.Pattern = initiator.Sequential
	}
	stats, err := l.Run(c.Context(), u)
	if stats != nil {
		fmt.Fprintln(c.OutOrStdout(), stats)
	}
	return err
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

// progress draws a bar on a terminal and nothing anywhere else.
type progress struct {
	total, done int64
	drawn       time.Time
	on          bool
}

func newProgress(total int64) *progress {
	return &progress{total: total, on: total > 0 && term.IsTerminal(int(os.Stderr.Fd()))}
}

const progressWidth = 40

func (p *progress) add(n int) {
	p.done += int64(n)
	if !p.on || time.Since(p.drawn) < 100*time.Millisecond && p.done < p.total {
		return
	}
	p.drawn = time.Now()
	full := int(p.done * progressWidth / p.total)
	fmt.Fprintf(os.Stderr, "\r[%s%s] %3d%%", strings.Repeat("#", full), strings.Repeat(".", progressWidth-full), p.done*100/p.total)
}

func (p *progress) end() {
	if p.on {
		fmt.Fprintln(os.Stderr)
	}
}
