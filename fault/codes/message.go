package codes

import "fmt"

// rejectCode is the code of a reason of Reject in the table: reject 0x04.
func rejectCode(n uint64) string { return fmt.Sprintf("reject 0x%02x", n) }

// eventCode is the code of an event of Asynchronous Message in the table: async 1.
func eventCode(n uint64) string { return fmt.Sprintf("async %d", n) }

// rejects are the reasons of RFC 7143 11.17.1.
func rejects() []Entry {
	at := func(n uint64, name, means, other string) Entry {
		return Entry{Kind: Reject, Code: rejectCode(n), Name: name, Means: means, Other: other}
	}
	return []Entry{
		at(0x02, "data digest error", "Data of the initiator arrived damaged, and the digest told.", "a wrong data digest; the connection ends then, as the error recovery level is 0"),
		at(0x03, "SNACK reject", "What the initiator wants to have again can't be had.", "every SNACK, as the error recovery level is 0"),
		at(0x04, "protocol error", "The PDU may not come here, or not now.", "logins on a session that is open, text that breaks the rules, commands in a discovery session, PDUs that are too long"),
		at(0x05, "command not supported", "The target does not know this kind of PDU.", "an opcode that no initiator sends"),
		at(0x06, "too many immediate commands", "The immediate command is one too many, and was not done.", "more immediate commands at once than a connection takes"),
		at(0x07, "task in progress", "The tag of the command is that of another that still runs.", "a tag that is in use"),
		at(0x08, "invalid data ACK", "A SNACK acknowledges data that can't be acknowledged.", ""),
		at(0x09, "invalid PDU field", "A field of the header has a value that it may not have.", "such fields, of commands as of others"),
		at(0x0a, "out of resources", "The target has no room for what is asked.", ""),
		at(0x0b, "negotiation reset", "The negotiation of keys failed; what held before holds on.", ""),
		at(0x0c, "waiting for logout", "The target has asked for a logout, and takes nothing else.", ""),
	}
}

// events are those of RFC 7143 11.9.1.
func events() []Entry {
	at := func(n uint64, name, means string, e effect, action, other string) Entry {
		r := ""
		if action != "" {
			r = "path portal=1 -> " + action
		}
		return Entry{Kind: Event, Code: eventCode(n), Name: name, Means: means, ESXi: e.text, Certainty: e.certainty, Rule: r, Other: other}
	}
	ended := does("The session is offline, H:0x1, until it has logged in again.", Inferred)
	return []Entry{
		at(0, "SCSI event", "Sense data that no command has asked for come with it.", effect{}, "", ""),
		at(1, "logout request", "The initiator is to log out within so many seconds; if it does not, it is dropped.", does("Logs out, and in again.", Memory), "logout", "an array that stops"),
		at(2, "connection drop", "The target ends this connection; the initiator may come again.", ended, "drop-connection", "an initiator that does not log out in time"),
		at(3, "session drop", "The target ends all connections of this session; the initiator may come again.", ended, "drop-session", "`vvsim session drop`"),
		at(4, "negotiation request", "The initiator is to negotiate keys anew.", effect{}, "", ""),
		at(5, "tasks aborted", "All commands of a logical unit are being ended.", effect{}, "", ""),
		at(255, "vendor specific", "What it says only the vendor knows.", effect{}, "", ""),
	}
}
