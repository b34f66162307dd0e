package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

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
