package initiator

import (
	"bytes"
	"context"
	"net"
	"time"

	"vvsim/scsi/iscsi/pdu"
)

// Defaults and limits.
const (
	DefaultPort         = "3260"
	DefaultCommands     = 128 // in flight on a session, as ESXi has it
	DefaultLoginTimeout = 15 * time.Second
	DefaultNOPTimeout   = 10 * time.Second

	DefaultMaxRecvDataSegmentLength = 256 << 10
	DefaultMaxBurstLength           = 1 << 20
	DefaultFirstBurstLength         = 256 << 10
	DefaultMaxOutstandingR2T        = 8

	maxCommands      = 1 << 15
	maxTransfer      = 16 << 20  // data of one command, each direction
	maxSegment       = 1<<24 - 1 // any length key (RFC 7143 13)
	minSegment       = 512
	loginSegment     = 8192 // data segment before negotiation (RFC 7143 13.12)
	maxLoginRounds   = 32   // login requests of one login
	maxExchanges     = 256  // requests in flight other than commands and their aborts
	maxUrgent        = 1024 // PDUs given to Send and not sent yet
	maxChallenge     = 1024 // bytes of a CHAP challenge (RFC 7143 12.1.3)
	maxPings         = 64   // NOP-Ins of the target that were not answered yet
	maxTextResponses = 64   // PDUs of one answer to a text request
	maxCDB           = 260  // with an extended CDB (SPC-4 4.2.3)
	firstReadBuffer  = 64 << 10
	sendBatch        = 256 << 10 // bytes per write call
	shortDrain       = 2 * time.Second
)

// Digest says what to offer for HeaderDigest or DataDigest.
type Digest string

const (
	DigestNone      Digest = "None"
	DigestCRC32C    Digest = "CRC32C"      // required
	DigestPreferred Digest = "CRC32C,None" // wanted
	DigestAccepted  Digest = "None,CRC32C" // not wanted
)

// CHAP is a name and a secret (RFC 7143 12.1.3).
type CHAP struct {
	User   string
	Secret []byte
}

// Options of a session. Zero values take the defaults named here.
type Options struct {
	// Address is host:port of a portal; without a port it is 3260.
	Address       string
	TargetName    string
	InitiatorName string
	// ISID names the session (RFC 7143 11.12.5). Default 00023d000001h.
	ISID      [6]byte
	Discovery bool // a discovery session; TargetName may be empty

	// CHAP is how the initiator proves itself, nil for no authentication.
	CHAP *CHAP
	// MutualCHAP is what the target has to prove; it needs CHAP.
	MutualCHAP *CHAP
	// CHAPAlgorithms is the offered list. Default "8,7,6,5": SHA3-256, SHA-256,
	// SHA-1, MD5. ESXi offers "5".
	CHAPAlgorithms string

	HeaderDigest, DataDigest Digest // default None
	// InitialR2T and NoImmediateData ask for Yes and for ImmediateData=No; the
	// defaults are what ESXi offers.
	InitialR2T, NoImmediateData bool
	MaxRecvDataSegmentLength    int // bytes that the initiator takes in one PDU
	MaxBurstLength              int
	FirstBurstLength            int
	MaxOutstandingR2T           int
	// ExtraKeys are sent with the operational keys as they are.
	ExtraKeys pdu.Keys

	MaxCommands  int           // in flight on this session
	LoginTimeout time.Duration // from connect to full feature phase
	// NOPInterval pings the target after so much silence; 0 never.
	NOPInterval time.Duration
	NOPTimeout  time.Duration // silence after a ping that ends the session

	// Trace sees every PDU. header includes additional header segments; both slices
	// are borrowed. It is called from the goroutines that send and receive, at once
	// from both, with locks held: it must not call the Session.
	Trace func(d Direction, header pdu.Header, data []byte)
	// Async is told of asynchronous messages, on the receiving goroutine; it must
	// not wait for anything of the Session. data is borrowed.
	Async func(m pdu.AsyncMessage, data []byte)
	// ObeyLogout logs out when the target asks for it (RFC 7143 11.9.1, event 1).
	ObeyLogout bool

	// Dialer connects; nil takes TCP.
	Dialer func(ctx context.Context, address string) (net.Conn, error)
}

// Direction of a traced PDU.
type Direction uint8

const (
	Sent Direction = iota
	Received
)

// String is an arrow.
func (d Direction) String() string {
	if d == Sent {
		return "->"
	}
	return "<-"
}

// EnsureDefaults fills in what is zero.
func (o *Options) EnsureDefaults() {
	if _, _, err := net.SplitHostPort(o.Address); err != nil && o.Address != "" {
		o.Address = net.JoinHostPort(trimBrackets(o.Address), DefaultPort)
	}
	if o.ISID == ([6]byte{}) {
		o.ISID = [6]byte{0x00, 0x02, 0x3d, 0x00, 0x00, 0x01}
	}
	if o.CHAPAlgorithms == "" {
		o.CHAPAlgorithms = "8,7,6,5"
	}
	for _, d := range []*Digest{&o.HeaderDigest, &o.DataDigest} {
		if *d == "" {
			*d = DigestNone
		}
	}
	fill(&o.MaxRecvDataSegmentLength, DefaultMaxRecvDataSegmentLength)
	fill(&o.MaxBurstLength, DefaultMaxBurstLength)
	fill(&o.FirstBurstLength, min(DefaultFirstBurstLength, o.MaxBurstLength))
	fill(&o.MaxOutstandingR2T, DefaultMaxOutstandingR2T)
	fill(&o.MaxCommands, DefaultCommands)
	fill(&o.LoginTimeout, DefaultLoginTimeout)
	fill(&o.NOPTimeout, DefaultNOPTimeout)
	if o.Dialer == nil {
		o.Dialer = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
}

func fill[T comparable](at *T, v T) {
	if *at == *new(T) {
		*at = v
	}
}

func trimBrackets(host string) string {
	if n := len(host); n > 1 && host[0] == '[' && host[n-1] == ']' {
		return host[1 : n-1]
	}
	return host
}

// Validate says what is wrong, with ErrInvalid. Call EnsureDefaults first.
func (o *Options) Validate() error {
	digests := map[Digest]bool{DigestNone: true, DigestCRC32C: true, DigestPreferred: true, DigestAccepted: true}
	length := func(n int) bool { return n >= minSegment && n <= maxSegment }
	switch {
	case o.Address == "":
		return invalid("no address")
	case o.InitiatorName == "":
		return invalid("no initiator name")
	case o.TargetName == "" && !o.Discovery:
		return invalid("no target name")
	case o.MutualCHAP != nil && o.CHAP == nil:
		return invalid("mutual CHAP without CHAP")
	case o.MutualCHAP != nil && bytes.Equal(o.MutualCHAP.Secret, o.CHAP.Secret):
		return invalid("both CHAP secrets are the same") // RFC 7143 9.2.1
	case !digests[o.HeaderDigest] || !digests[o.DataDigest]:
		return invalid("digests %q and %q", o.HeaderDigest, o.DataDigest)
	case !length(o.MaxRecvDataSegmentLength) || !length(o.MaxBurstLength) || !length(o.FirstBurstLength):
		return invalid("a length outside %d to %d", minSegment, maxSegment)
	case o.FirstBurstLength > o.MaxBurstLength:
		return invalid("FirstBurstLength %d exceeds MaxBurstLength %d", o.FirstBurstLength, o.MaxBurstLength)
	case o.MaxOutstandingR2T < 1 || o.MaxOutstandingR2T > 65535:
		return invalid("MaxOutstandingR2T %d", o.MaxOutstandingR2T)
	case o.MaxCommands < 1 || o.MaxCommands > maxCommands:
		return invalid("%d commands; up to %d", o.MaxCommands, maxCommands)
	case o.LoginTimeout < 0 || o.NOPInterval < 0 || o.NOPTimeout < 0:
		return invalid("a negative time")
	}
	return nil
}
