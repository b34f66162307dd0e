package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"vvsim/scsi/iscsi/initiator"
)

func ioBench(c *cobra.Command, units []*initiator.Unit) error {
	block, err := parseSize(c.Flag("block").Value.String())
	if err != nil {
		return wrongUsage(c, fmt.Errorf("--block: %w", err))
	}
	l := initiator.Load{BlockSize: int(min(block, 1<<30)), Seed: uint64(time.Now().UnixNano())} // far above what a command may carry
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
	if l.Verify && len(units) > 1 {
		return wrongUsage(c, errors.New("--verify: each session would overwrite what the others compare; take one session"))
	}
	stats, err := l.Run(c.Context(), units...)
	if errors.Is(err, initiator.ErrInvalid) {
		return wrongUsage(c, err)
	}
	if stats != nil {
		fmt.Fprintln(c.OutOrStdout(), stats)
	}
	return err
}
