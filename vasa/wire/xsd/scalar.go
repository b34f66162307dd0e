package xsd

import (
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// errSyntax says that a text is no value of its type.
var errSyntax = errors.New("is no value of its type")

// collapse removes the white space around a value that is no string (XML Schema part 2,
// whiteSpace collapse).
func collapse(s string) string { return strings.Trim(s, " \t\r\n") }

func parseBool(s string) (bool, error) {
	switch collapse(s) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, errSyntax
}

func parseInt(s string, bits int) (int64, error) {
	n, err := strconv.ParseInt(collapse(s), 10, bits)
	if err != nil {
		return 0, errSyntax
	}
	return n, nil
}

// parseDouble reads xs:double, which knows neither hexadecimal digits nor words but INF
// and NaN.
func parseDouble(s string) (float64, error) {
	s = collapse(s)
	switch s {
	case "INF":
		return math.Inf(1), nil
	case "-INF":
		return math.Inf(-1), nil
	case "NaN":
		return math.NaN(), nil
	}
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, errSyntax
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, errSyntax
	}
	return f, nil
}

func formatDouble(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "INF"
	case math.IsInf(f, -1):
		return "-INF"
	}
	return strconv.FormatFloat(f, 'G', -1, 64)
}

// Forms of xs:dateTime: the fraction is read by time.Parse wherever a form ends in
// seconds.
const (
	dateTime      = "2006-01-02T15:04:05"
	dateTimeZoned = dateTime + "Z07:00"
)

// parseTime reads xs:dateTime with a year of four digits and gives UTC. Without a zone
// the time is UTC. time.Parse alone would take shapes that XML Schema does not have.
func parseTime(s string) (time.Time, error) {
	s = collapse(s)
	if len(s) < len(dateTime) || !shaped(s[:len(dateTime)], dateTime) {
		return time.Time{}, errSyntax
	}
	rest := s[len(dateTime):]
	if strings.HasPrefix(rest, ".") {
		digits := len(rest) - 1 - len(strings.TrimLeft(rest[1:], "0123456789"))
		if digits == 0 {
			return time.Time{}, errSyntax
		}
		rest = rest[1+digits:]
	}
	form := dateTimeZoned
	switch {
	case rest == "":
		form = dateTime
	case rest != "Z" && (len(rest) != len("+07:00") || !shaped(rest[1:], "07:00")):
		return time.Time{}, errSyntax
	}
	t, err := time.Parse(form, s)
	if err != nil || !carried(t.UTC()) {
		return time.Time{}, errSyntax
	}
	return t.UTC(), nil
}

// shaped compares s with a form of the same length in which each digit stands for any.
func shaped(s, form string) bool {
	for i := range len(form) {
		digit := '0' <= form[i] && form[i] <= '9'
		if digit && (s[i] < '0' || s[i] > '9') || !digit && s[i] != form[i] {
			return false
		}
	}
	return true
}

// carried tells whether a time has a year that every reader of xs:dateTime takes.
func carried(utc time.Time) bool { return utc.Year() >= 1 && utc.Year() <= 9999 }

func formatTime(t time.Time) (string, error) {
	t = t.UTC()
	if !carried(t) {
		return "", errors.New("year " + strconv.Itoa(t.Year()) + " does not fit xs:dateTime")
	}
	return t.Format(dateTime + ".999999999Z"), nil
}

// parseBytes reads xs:base64Binary, in which white space may stand anywhere.
func parseBytes(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, s))
	if err != nil {
		return nil, errSyntax
	}
	return b, nil
}

// isNCName tells whether s is a name without a colon. Marks that combine are not taken.
func isNCName(s string) bool {
	for i, r := range s {
		letter := r == '_' || unicode.IsLetter(r)
		if !letter && (i == 0 || r != '-' && r != '.' && !unicode.IsDigit(r)) {
			return false
		}
	}
	return s != ""
}

// isText tells whether XML 1.0 can carry s (production Char).
func isText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == '\uFFFE' || r == '\uFFFF' {
			return false
		}
	}
	return true
}
