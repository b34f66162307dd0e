package codes

import (
	"fmt"
	"strings"
)

// preamble is the head of the document.
const preamble = "# What hosts see\n\n" +
	"<!-- Written by `make docs` from the table in fault/codes; changes belong there. -->\n\n" +
	"What a host gets when something is wrong, what ESXi is known to do about it, and the fault rule that brings it about\n" +
	"([faults.md](faults.md)). `vvsim explain` finds the codes in a line of `vmkernel.log`, or by number or name:\n\n" +
	"```\n" +
	"vvsim explain 0x5 0x25 0x0\n" +
	"vvsim explain 'H:0x0 D:0x2 P:0x0 Valid sense data: 0x5 0x25 0x0'\n" +
	"vvsim explain 70 00 05 00 00 00 00 0a 00 00 00 00 25 00\n" +
	"vvsim explain 0x0203\n" +
	"vvsim explain reject 0x09\n" +
	"vvsim explain async 1\n" +
	"vvsim explain ResourceInUse\n" +
	"```\n\n" +
	"The rules are those that the tests run: what an initiator then gets is compared with this table. \"Also\" is how else a code\n" +
	"comes about in this array. Nothing is said of ESXi where nothing is known; the words in brackets tell where a statement\n" +
	"comes from:\n\n" +
	"| word | source |\n|---|---|\n"

// headings and what is to be known of each kind.
var headings = []struct {
	kind  Kind
	title string
	text  string
}{
	{Sense, "Sense data", "Key/ASC/ASCQ, in hexadecimal. In a log line they follow `Valid sense data:`; `Possible sense data:` did not come from\nthe device. An `lu` rule answers with any sense data: `-> sense K/ASC/ASCQ`.\nOf other qualifiers of 01/18, 05/26, 06/29 and 0B/4B `vvsim explain` tells what is true of all of them."},
	{Status, "SCSI status", "`D:` in a log line."},
	{Host, "Host status", "`H:` in a log line: what the host's driver says. Names 0x0 to 0x3 are documented, the others known from practice. The\nrules show what makes a host say so; the array does not send it."},
	{Plugin, "Plug-in status", "`P:` in a log line: what the host's multipathing plug-in makes of an answer. The array does not send it; the rules send\nwhat it is made from."},
	{Login, "iSCSI login status", "Class and detail of a Login Response (RFC 7143 11.13.5)."},
	{Reject, "iSCSI Reject", "Reason of a Reject (RFC 7143 11.17.1): what the array makes of PDUs that are wrong. No rule sends one; it is the\ninitiator that has to be broken."},
	{Event, "iSCSI Asynchronous Message", "Its event (RFC 7143 11.9.1), with what the array tells that nobody has asked for."},
	{Fault, "VASA faults", "Faults of the provider's operations. Each rule names one of the operations that declare the fault."},
}

// Document is the table in Markdown.
func Document() string {
	var b strings.Builder
	b.WriteString(preamble)
	for _, c := range certainties {
		fmt.Fprintf(&b, "| %s | %s |\n", c.name, c.meaning)
	}
	all := Table()
	for _, h := range headings {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| code | name | means | ESXi | rule |\n|---|---|---|---|---|\n", h.title, h.text)
		for _, e := range all {
			if e.Kind == h.kind {
				e.writeRow(&b)
			}
		}
	}
	return b.String()
}

func (e *Entry) writeRow(b *strings.Builder) {
	rule := ""
	if e.Rule != "" {
		rule = "`" + e.Rule + "`"
	}
	if e.Other != "" {
		if rule != "" {
			rule += ". "
		}
		rule += "Also: " + e.Other
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", e.Code, e.Name, e.Means, e.Effect(), rule)
}

// Effect is what ESXi does with its certainty, "" where nothing is known.
func (e *Entry) Effect() string {
	if e.ESXi == "" {
		return ""
	}
	words := make([]string, len(e.Certainty))
	for i, c := range e.Certainty {
		words[i] = string(c)
	}
	return e.ESXi + " [" + strings.Join(words, ", ") + "]"
}
