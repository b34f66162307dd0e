package grammar

import (
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Word is a piece of a rule between spaces, with the column where it begins, from 1.
type Word struct {
	Text string
	At   int
}

// Split cuts a rule at spaces outside quotes. An error comes with the column where it is, from 1.
func Split(text string) (words []Word, at int, err error) {
	start, quoted, escaped := -1, false, false
	for i := 0; i <= len(text); i++ {
		if i == len(text) || !quoted && (text[i] == ' ' || text[i] == '\t') {
			if start >= 0 {
				words = append(words, Word{text[start:i], start + 1})
			}
			start = -1
			continue
		}
		c := text[i]
		if c < ' ' || c == 0x7f {
			return nil, i + 1, errors.New("a rule is one line without control characters")
		}
		if start < 0 {
			start = i
		}
		if c == '"' && !escaped {
			quoted = !quoted
		}
		escaped = quoted && c == '\\' && !escaped
	}
	if quoted {
		return nil, len(text) + 1, errors.New("a closing quote is missing")
	}
	return words, 0, nil
}

// OneOf lists what is allowed.
func OneOf(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// Unquote takes the quotes off a value that has them.
func Unquote(v string) (string, error) {
	if !strings.Contains(v, `"`) {
		return v, nil
	}
	s, err := strconv.Unquote(v)
	if err != nil || v[0] != '"' {
		return "", fmt.Errorf(`%s is not quoted as in "my disk"`, v)
	}
	return s, nil
}

// Number reads a decimal number within bounds.
func Number(v string, least, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q is no number from %d to %d", v, least, most)
	}
	return n, nil
}

// Duration reads a time above 0 and up to most.
func Duration(v string, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 || d > most {
		return 0, fmt.Errorf("%q is no time such as 20ms or 1m30s, above 0 and up to %v", v, most)
	}
	return d, nil
}

// Hexadecimal reads one or two digits, with or without 0x.
func Hexadecimal(s string) (uint64, error) {
	return strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 8)
}

// Bounds of rate, in bytes a second.
const (
	minRate = 1 << 10
	maxRate = 1 << 40
)

// rateUnits are those of rate.
var rateUnits = []struct {
	name  string
	bytes uint64
}{{"GiB/s", 1 << 30}, {"MiB/s", 1 << 20}, {"KiB/s", 1 << 10}, {"B/s", 1}}

// Rate reads a number of bytes a second, as in 10MiB/s.
func Rate(text string) (int64, error) {
	for _, u := range rateUnits {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := Number(digits, 1, maxRate/u.bytes)
		if err == nil && n*u.bytes >= minRate {
			return int64(n * u.bytes), nil
		}
		break
	}
	return 0, fmt.Errorf("%q is no rate such as 10MiB/s, from 1KiB/s to 1024GiB/s, in B/s, KiB/s, MiB/s or GiB/s", text)
}

// Address refuses what is no host:port[,group] as TargetAddress has it (RFC 7143 13.8).
func Address(text string) error {
	address, group, tagged := strings.Cut(text, ",")
	host, port, err := net.SplitHostPort(address)
	if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || portErr != nil || n == 0 {
		return fmt.Errorf("%q is no address such as 10.0.0.2:3260, [fd00::2]:3260 or array.lab:3260", address)
	}
	if tagged {
		_, err = Number(group, 0, math.MaxUint16)
	}
	return err
}

// MaxNameLength bounds the name of a rule, in bytes.
const MaxNameLength = 64

// Name refuses what is no name of a rule: it has to be told from an id, and needs no quotes.
func Name(v string) error {
	letter := false
	for _, c := range v {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			letter = true
		case c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return fmt.Errorf("%q has %q, and not only letters, digits, '-', '_' and '.'", v, c)
		}
	}
	if !letter || len(v) > MaxNameLength {
		return fmt.Errorf("%q is no name: up to %d bytes, with a letter", v, MaxNameLength)
	}
	return nil
}

// Choice refuses what is none of some names.
func Choice(v string, names []string) error {
	if slices.Contains(names, v) {
		return nil
	}
	return fmt.Errorf("%q is none of %s", v, OneOf(names))
}

// Range reads a number, or two with a - between them.
func Range(v string) (first, last uint64, err error) {
	from, to, ranged := strings.Cut(v, "-")
	if !ranged {
		to = from
	}
	if first, err = Number(from, 0, math.MaxUint64); err != nil {
		return 0, 0, err
	}
	if last, err = Number(to, 0, math.MaxUint64); err != nil {
		return 0, 0, err
	}
	if last < first {
		return 0, 0, fmt.Errorf("%d-%d ends before it begins", first, last)
	}
	return first, last, nil
}

// Durations reads a time, or two with .. between them, each above 0 and up to most.
func Durations(v string, most time.Duration) (least, longest time.Duration, err error) {
	from, to, ranged := strings.Cut(v, "..")
	if !ranged {
		to = from
	}
	if least, err = Duration(from, most); err != nil {
		return 0, 0, err
	}
	if longest, err = Duration(to, most); err != nil {
		return 0, 0, err
	}
	if longest < least {
		return 0, 0, fmt.Errorf("%q ends before it begins", v)
	}
	return least, longest, nil
}

// Sense reads K/ASC/ASCQ, each in hexadecimal digits.
func Sense(v string) (key, asc, ascq byte, err error) {
	parts := strings.Split(v, "/")
	if len(parts) != 3 {
		return 0, 0, 0, fmt.Errorf("%q is not three hexadecimal numbers", v)
	}
	var n [3]uint64
	for i, most := range [3]uint64{0xf, 0xff, 0xff} {
		if n[i], err = Hexadecimal(parts[i]); err != nil || n[i] > most {
			return 0, 0, 0, fmt.Errorf("%q is no hexadecimal number up to %x", parts[i], most)
		}
	}
	return byte(n[0]), byte(n[1]), byte(n[2]), nil
}

// Attention reads ASC/ASCQ, each in hexadecimal digits.
func Attention(v string) (asc, ascq byte, err error) {
	high, low, ok := strings.Cut(v, "/")
	a, err := Hexadecimal(high)
	b, lowErr := Hexadecimal(low)
	if !ok || err != nil || lowErr != nil {
		return 0, 0, fmt.Errorf("%q is not two hexadecimal numbers up to ff", v)
	}
	return byte(a), byte(b), nil
}

// LoginStatus reads a status of RFC 7143 11.13.5 that refuses.
func LoginStatus(v string) (uint16, error) {
	digits, ok := strings.CutPrefix(v, "0x")
	n, err := strconv.ParseUint(digits, 16, 16)
	if !ok || err != nil || !(n >= 0x0200 && n <= 0x020b || n >= 0x0300 && n <= 0x0302) {
		return 0, fmt.Errorf("%q is none of 0x0200 to 0x020b and 0x0300 to 0x0302", v)
	}
	return uint16(n), nil
}
