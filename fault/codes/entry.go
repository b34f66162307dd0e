package codes

import (
	"fmt"
	"slices"
	"strings"

	"vvsim/scsi"
)

// Kind of a code.
type Kind uint8

const (
	Sense  Kind = iota + 1 // sense key, additional sense code and qualifier
	Status                 // SCSI status, D: in a log line
	Host                   // status of the host's driver, H: in a log line
	Plugin                 // status of the host's multipathing plug-in, P: in a log line
	Login                  // status of an iSCSI Login Response
	Reject                 // reason of an iSCSI Reject
	Event                  // event of an iSCSI Asynchronous Message
	Fault                  // fault of a VASA operation
)

var kindNames = map[Kind]string{Sense: "sense data", Status: "SCSI status", Host: "host status", Plugin: "plug-in status",
	Login: "login status", Reject: "reason of a Reject", Event: "asynchronous event", Fault: "VASA fault"}

// String is the kind in words.
func (k Kind) String() string { return kindNames[k] }

// Certainty is where a statement on hosts comes from.
type Certainty string

const (
	Standard   Certainty = "standard"   // SCSI standards of T10, RFC 7143, or the contract of VASA
	Documented Certainty = "documented" // VMware's documentation
	Vendor     Certainty = "vendor"     // documentation of array vendors
	Setting    Certainty = "setting"    // settings as ESXi hosts list them
	Memory     Certainty = "memory"     // known from practice, without a source that could be quoted
	Inferred   Certainty = "inferred"   // concluded from the others
)

// certainties in the order of their weight, with what they stand for.
var certainties = []struct {
	name    Certainty
	meaning string
}{
	{Standard, "the SCSI standards of T10, RFC 7143, or the contract of VASA"},
	{Documented, "VMware's documentation"},
	{Vendor, "documentation of array vendors"},
	{Setting, "name, default and meaning of a setting, as ESXi hosts list them"},
	{Memory, "known from practice, without a source that could be quoted"},
	{Inferred, "concluded from the others"},
}

// Entry is one code.
type Entry struct {
	Kind  Kind   `json:"-"`
	Code  string `json:"code"`            // as it is printed: 05/25/00, D:0x8, H:0x1, P:0x8, 0x0203, reject 0x04, async 1, or a fault's name
	Name  string `json:"name"`            // in the words of the standard
	Means string `json:"means"`           // what has happened
	ESXi  string `json:"esxi,omitempty"`  // what ESXi does; "" where nothing is known
	Rule  string `json:"rule,omitempty"`  // a fault rule that produces it; "" where none does
	Other string `json:"other,omitempty"` // how else it comes about in this array

	Certainty []Certainty `json:"certainty,omitempty"` // of ESXi
}

// effect is what ESXi does, and how certain that is.
type effect struct {
	text      string
	certainty []Certainty
}

func does(text string, c ...Certainty) effect { return effect{text, c} }

// Table returns all entries, by kind, and within a kind in the order of the codes. The
// caller may change it.
func Table() []Entry {
	return slices.Concat(senses(), statuses(), hostStatuses(), pluginStatuses(), loginStatuses(), rejects(), events(), faults())
}

// SenseCode is the code of sense data in the table: 05/25/00.
func SenseCode(s scsi.SenseData) string {
	return fmt.Sprintf("%02X/%v", uint8(s.Key), s.Code)
}

// numbered is the code of a status: D:0x8.
func numbered(letter string, n uint64) string { return fmt.Sprintf("%s:0x%x", letter, n) }

// loginCode is the code of a login status: 0x0203.
func loginCode(n uint64) string { return fmt.Sprintf("0x%04x", n) }

// Find returns the entry of a code or of a name, whatever its case.
func Find(k Kind, code string) (Entry, bool) {
	for _, e := range Table() {
		if e.Kind == k && (strings.EqualFold(e.Code, code) || strings.EqualFold(e.Name, code)) {
			return e, true
		}
	}
	return Entry{}, false
}
