package codes

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"vvsim/scsi"
)

// MaxText bounds what Explain reads, in bytes: a line of a log is shorter.
const MaxText = 4096

// Errors of Explain.
var (
	ErrNotCode = errors.New("no code in it")    // the text holds nothing that could be one
	ErrUnknown = errors.New("not in the table") // a code that is not in it
	errRange   = errors.New("sense data need three numbers: a key up to 0xf, ASC and ASCQ up to 0xff")
)

var (
	// statusPattern finds the H, D and P of a log line.
	statusPattern = regexp.MustCompile(`\b([HDPhdp]):(?:0[xX])?([0-9a-fA-F]{1,4})\b`)
	// sensePattern finds sense data where a log line has them: after "sense data:", or at its end.
	sensePattern = regexp.MustCompile(`(?i)(?:(?:(invalid|valid|possible)\s+)?(sense\s+data:))?\s*\b(?:0x)?([0-9a-f]{1,2})[\s/]+(?:0x)?([0-9a-f]{1,2})[\s/]+(?:0x)?([0-9a-f]{1,2})\b`)
	// dumpPattern is sense data byte by byte, as a sniffer shows them.
	dumpPattern = regexp.MustCompile(`^(?:(?:0[xX])?[0-9a-fA-F]{2}[\s:,]*){8,}$`)
	// loginPattern is a login status alone, as 0x0203, 0203, 0203h or login status 0x0203.
	loginPattern = regexp.MustCompile(`^(?i:login\s+status[\s:,=]+)?(?:0[xX])?(0[0-9a-fA-F]{3})[hH]?$`)
	// rejectPattern and eventPattern are those that iSCSI sends by itself, as reject 0x09 and async 1.
	rejectPattern = regexp.MustCompile(`(?i)^reject(?:ed)?[\s:,]+(?:(?:with\s+)?reason[\s:=]+)?(?:0x)?([0-9a-f]{1,2})h?$`)
	eventPattern  = regexp.MustCompile(`(?i)^async(?:hronous)?[\s:,]+(?:(?:message|event)[\s:,=]+){0,2}([0-9]{1,3})$`)
)

// Explain finds the codes in a text: a line of vmkernel.log, its part from H: on, sense data as
// 0x5 0x25 0x0 or 05/25/00 or in all their bytes, a login status as 0x0203, what iSCSI sends by itself as
// reject 0x09 or async 1, or the name of a fault or of any
// entry. Codes that are not in the table are ErrUnknown, told beside the entries of those
// that are; a text without any is ErrNotCode. A fault's name may have a package or a prefix
// before it.
func Explain(text string) ([]Entry, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrNotCode, MaxText)
	}
	text = strings.TrimSpace(text)
	if all := named(text); len(all) > 0 {
		return all, nil
	}
	t := indexed()
	if m := loginPattern.FindStringSubmatch(text); m != nil {
		return t.one(Login, "0x"+strings.ToLower(m[1]))
	}
	if m := rejectPattern.FindStringSubmatch(text); m != nil {
		return t.numbered(Reject, m[1], 16, rejectCode)
	}
	if m := eventPattern.FindStringSubmatch(text); m != nil {
		return t.numbered(Event, m[1], 10, eventCode)
	}
	if dumpPattern.MatchString(text) {
		return t.dump(text)
	}
	statuses := statusPattern.FindAllStringSubmatchIndex(text, -1)
	if len(statuses) == 0 {
		return t.alone(text)
	}
	return t.line(text, statuses)
}

// named are the entries with a name or a code as it is printed.
func named(text string) (all []Entry) {
	last := text[strings.LastIndexAny(text, ".:")+1:]
	for _, e := range Table() {
		if strings.EqualFold(e.Name, text) || strings.EqualFold(e.Code, text) || e.Kind == Fault && strings.EqualFold(e.Code, last) {
			all = append(all, e)
		}
	}
	return all
}

// index finds entries by kind and code.
type index map[key]Entry

type key struct {
	kind Kind
	code string
}

func indexed() index {
	t := index{}
	for _, e := range Table() {
		t[key{e.Kind, e.Code}] = e
	}
	return t
}

func (t index) one(k Kind, code string) ([]Entry, error) {
	e, ok := t[key{k, code}]
	if !ok {
		return nil, fmt.Errorf("%w: %v %s", ErrUnknown, k, code)
	}
	return []Entry{e}, nil
}

// numbered finds a code by digits that are a number.
func (t index) numbered(k Kind, digits string, base int, code func(uint64) string) ([]Entry, error) {
	n, err := strconv.ParseUint(digits, base, 16)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotCode, err)
	}
	return t.one(k, code(n))
}

// dump reads sense data in fixed or descriptor format.
func (t index) dump(text string) ([]Entry, error) {
	digits := strings.NewReplacer("0x", "", "0X", "", " ", "", "\t", "", "\n", "", "\r", "", ":", "", ",", "").Replace(text)
	b, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotCode, err)
	}
	s, err := scsi.ParseSense(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotCode, err)
	}
	return t.of(s)
}

// alone reads sense data without statuses before them.
func (t index) alone(text string) ([]Entry, error) {
	m := sensePattern.FindStringSubmatch(text)
	if len(m) == 0 || m[2] == "" && len(m[0]) != len(text) {
		return nil, ErrNotCode
	}
	return t.sense(m[3:])
}

// line reads what a host logs of a command. "Possible sense data" did not come from the
// device, "Invalid sense data" are none, and so are zeros.
func (t index) line(text string, statuses [][]int) (all []Entry, err error) {
	var errs []error
	add := func(found []Entry, err error) {
		all = append(all, found...)
		errs = append(errs, err)
	}
	kinds := map[string]Kind{"H": Host, "D": Status, "P": Plugin}
	end := 0
	for _, m := range statuses {
		letter := strings.ToUpper(text[m[2]:m[3]])
		n, err := strconv.ParseUint(text[m[4]:m[5]], 16, 16)
		if err != nil {
			return nil, err // four digits are a number
		}
		add(t.one(kinds[letter], numbered(letter, n)))
		end = m[1]
	}
	m := sensePattern.FindStringSubmatch(text[end:])
	if len(m) > 0 && (m[1] == "" || strings.EqualFold(m[1], "valid")) && !none(m[3:]) {
		add(t.sense(m[3:]))
	}
	return all, errors.Join(errs...)
}

func none(digits []string) bool {
	return !slices.ContainsFunc(digits, func(d string) bool { return strings.Trim(d, "0") != "" })
}

// sense finds the entry of key, ASC and ASCQ in hexadecimal.
func (t index) sense(digits []string) ([]Entry, error) {
	var n [3]uint64
	for i, most := range [3]uint64{0xf, 0xff, 0xff} {
		var err error
		if n[i], err = strconv.ParseUint(digits[i], 16, 8); err != nil || n[i] > most {
			return nil, fmt.Errorf("%w: %w", ErrNotCode, errRange)
		}
	}
	return t.of(scsi.Sense(scsi.SenseKey(n[0]), scsi.ASC(n[1]<<8|n[2])))
}

// of finds the entry of sense data.
func (t index) of(s scsi.SenseData) ([]Entry, error) {
	const component, first = 0x40, 0x4080
	if s.Code>>8 == component && s.Code >= first { // the qualifier is the number of a part
		s.Code = first
	}
	e, ok := t[key{Sense, SenseCode(s)}]
	if !ok {
		e, ok = family(s)
	}
	if !ok {
		return nil, fmt.Errorf("%w: sense data %v", ErrUnknown, s)
	}
	return []Entry{e}, nil
}
