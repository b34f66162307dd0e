package negotiate

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxName is the length of an iSCSI name in bytes (RFC 7143 4.2.7.1).
const MaxName = 223

// CheckName tells what is wrong with an iSCSI name (RFC 7143 4.2.7): its length, its
// form (iqn., eui. or naa.) or a character that no name may have (RFC 3722 6). Two
// things are taken that RFC 3722 does not allow, as they are in use: capital letters
// and the underscore.
func CheckName(name string) error {
	switch {
	case name == "" || len(name) > MaxName:
		return fmt.Errorf("%.40q is no iSCSI name: it has %d bytes, must have 1 to %d", name, len(name), MaxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%q is no iSCSI name: it is not UTF-8", name)
	}
	for _, r := range name {
		if !nameCharacter(r) {
			return fmt.Errorf("%q is no iSCSI name: it has the character %q", name, r)
		}
	}
	kind, rest, _ := strings.Cut(name, ".")
	switch strings.ToLower(kind) {
	case "iqn":
		return checkQualified(name, rest)
	case "eui":
		return checkHex(name, rest, 16)
	case "naa":
		return checkHex(name, rest, 16, 32)
	}
	return fmt.Errorf("%q is no iSCSI name: it does not begin with iqn., eui. or naa.", name)
}

func nameCharacter(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("-.:_", r)
	}
	return unicode.IsGraphic(r) && !unicode.IsSpace(r)
}

// checkQualified checks what follows iqn.: the month from which the naming authority
// had its domain, and the domain (RFC 7143 4.2.7.4).
func checkQualified(name, rest string) error {
	month, domain, _ := strings.Cut(rest, ".")
	if _, err := time.Parse("2006-01", month); err != nil {
		return fmt.Errorf("%q is no iSCSI name: it has no date yyyy-mm behind iqn.", name)
	}
	if domain == "" || domain[0] == ':' || domain[0] == '.' {
		return fmt.Errorf("%q is no iSCSI name: it has no domain behind its date", name)
	}
	return nil
}

// checkHex checks what follows eui. and naa.: hexadecimal digits (RFC 7143 4.2.7.5, 4.2.7.6).
func checkHex(name, rest string, lengths ...int) error {
	if _, err := hex.DecodeString(rest); err != nil || !slices.Contains(lengths, len(rest)) {
		return fmt.Errorf("%q is no iSCSI name: it must have %v hexadecimal digits behind its dot", name, lengths)
	}
	return nil
}
