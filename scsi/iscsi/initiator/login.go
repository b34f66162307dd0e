package initiator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"vvsim/scsi/iscsi/pdu"
)

// Parameters are what a login settled.
type Parameters struct {
	HeaderDigest, DataDigest bool
	InitialR2T               bool
	ImmediateData            bool
	MaxSendDataSegmentLength int // the target's MaxRecvDataSegmentLength
	MaxBurstLength           int
	FirstBurstLength         int
	MaxOutstandingR2T        int

	TSIH             uint16
	PortalGroup      uint16
	TargetAlias      string
	CmdSN, ExpStatSN uint32   // the next ones
	ExpCmdSN         uint32   // the target's
	MaxCmdSN         uint32   // the target's
	TargetKeys       pdu.Keys // everything the target answered, in order
}

// Login logs in over a fresh Conn and sets its digests and limits. The Conn may
// be used alone afterwards; Dial makes a Session of it. ctx bounds the login
// beside o.LoginTimeout. The Conn is closed on error.
func Login(ctx context.Context, c *Conn, o Options) (Parameters, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		c.Close()
		return Parameters{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.LoginTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.nc.SetDeadline(time.Unix(1, 0)) })
	l := newLogin(c, &o)
	err := l.run()
	if !stop() {
		err = errors.Join(context.Cause(ctx), err)
	}
	if err != nil {
		c.Close()
		return Parameters{}, fmt.Errorf("login to %s at %s: %w", o.TargetName, o.Address, err)
	}
	c.HeaderDigest, c.DataDigest, c.MaxData = l.p.HeaderDigest, l.p.DataDigest, o.MaxRecvDataSegmentLength
	return l.p, nil
}

// login is one login in progress (RFC 7143 6.3).
type login struct {
	c        *Conn
	o        *Options
	request  pdu.LoginRequest
	response pdu.LoginResponse
	rounds   int
	p        Parameters
	chap     *chapExchange
	offered  pdu.Keys
	refuse   pdu.Keys // answers to what the target offered by itself
}

func newLogin(c *Conn, o *Options) *login {
	l := &login{c: c, o: o}
	l.request = pdu.LoginRequest{ISID: o.ISID, TaskTag: 1, CmdSN: 1}
	// RFC 7143 13: what holds when a key is not settled.
	l.p = Parameters{InitialR2T: true, ImmediateData: true, MaxSendDataSegmentLength: loginSegment, MaxBurstLength: 262144,
		FirstBurstLength: 65536, MaxOutstandingR2T: 1}
	return l
}

// run goes through both stages.
func (l *login) run() error {
	if err := l.security(); err != nil {
		return err
	}
	if err := l.operational(); err != nil {
		return err
	}
	if l.response.TSIH == 0 {
		return protocol("login ended without a TSIH")
	}
	l.p.TSIH, l.p.CmdSN = l.response.TSIH, l.request.CmdSN
	l.p.ExpStatSN, l.p.ExpCmdSN, l.p.MaxCmdSN = l.request.ExpStatSN, l.response.ExpCmdSN, l.response.MaxCmdSN
	return nil
}

// security authenticates, and tells who wants what (RFC 7143 6.3.1).
func (l *login) security() error {
	var keys pdu.Keys
	keys.Add("InitiatorName", l.o.InitiatorName)
	if l.o.Discovery {
		keys.Add("SessionType", "Discovery")
	} else {
		keys.Add("SessionType", "Normal")
	}
	if l.o.TargetName != "" {
		keys.Add("TargetName", l.o.TargetName)
	}
	if l.o.CHAP != nil {
		l.chap = &chapExchange{own: l.o.CHAP, target: l.o.MutualCHAP, algorithms: l.o.CHAPAlgorithms}
		keys.Add("AuthMethod", "CHAP")
	} else {
		keys.Add("AuthMethod", "None")
	}
	l.request.Current, l.request.Next = pdu.SecurityNegotiation, pdu.OperationalNegotiation
	transit := true
	for {
		answers, err := l.exchange(keys, transit)
		if err != nil {
			return err
		}
		keys, transit = nil, true
		switch method, ok := answers.Get("AuthMethod"); {
		case l.chap != nil && l.response.Transit:
			return l.chap.verify(answers)
		case l.chap != nil:
			keys, transit, err = l.chap.next(answers)
		case ok && method != "None":
			err = protocol("AuthMethod %q, None was offered", method)
		case l.response.Transit:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// operational offers the parameters and settles them.
func (l *login) operational() error {
	l.offered = l.o.offer()
	keys := l.offered
	l.request.Current, l.request.Next = pdu.OperationalNegotiation, pdu.FullFeaturePhase
	for {
		answers, err := l.exchange(keys, true)
		if err != nil {
			return err
		}
		for _, k := range answers {
			if err := l.settle(k); err != nil {
				return err
			}
		}
		if l.response.Transit {
			return l.check()
		}
		keys, l.refuse = l.refuse, nil
	}
}

// offer is the list of operational keys; those that a discovery session has no
// use for stay away.
func (o *Options) offer() (keys pdu.Keys) {
	yes := map[bool]string{true: "Yes", false: "No"}
	keys.Add("HeaderDigest", string(o.HeaderDigest))
	keys.Add("DataDigest", string(o.DataDigest))
	keys.Add("MaxRecvDataSegmentLength", strconv.Itoa(o.MaxRecvDataSegmentLength))
	keys.Add("DefaultTime2Wait", "2")
	keys.Add("DefaultTime2Retain", "0")
	keys.Add("ErrorRecoveryLevel", "0")
	if !o.Discovery {
		keys.Add("MaxConnections", "1")
		keys.Add("InitialR2T", yes[o.InitialR2T])
		keys.Add("ImmediateData", yes[!o.NoImmediateData])
		keys.Add("MaxBurstLength", strconv.Itoa(o.MaxBurstLength))
		keys.Add("FirstBurstLength", strconv.Itoa(o.FirstBurstLength))
		keys.Add("MaxOutstandingR2T", strconv.Itoa(o.MaxOutstandingR2T))
		keys.Add("DataPDUInOrder", "Yes")
		keys.Add("DataSequenceInOrder", "Yes")
	}
	return append(keys, o.ExtraKeys...)
}

// exchange sends keys in one request and returns the keys of the whole answer,
// which may come in several PDUs (C bit, RFC 7143 6.2).
func (l *login) exchange(keys pdu.Keys, transit bool) (pdu.Keys, error) {
	text := keys.AppendTo(nil)
	if len(text) > loginSegment {
		return nil, invalid("%d bytes of login keys", len(text))
	}
	var answer []byte
	for {
		l.request.Transit = transit
		data, err := l.roundTrip(text)
		if err != nil {
			return nil, err
		}
		if len(answer)+len(data) > pdu.MaxTextLength {
			return nil, protocol("more than %d bytes of login keys", pdu.MaxTextLength)
		}
		answer = append(answer, data...)
		if !l.response.Continue {
			break
		}
		text = nil
	}
	got, err := pdu.ParseKeys(answer)
	if err != nil {
		return nil, protocol("%w", err)
	}
	l.p.TargetKeys = append(l.p.TargetKeys, got...)
	for _, k := range got {
		if err := l.p.declared(k); err != nil {
			return nil, err
		}
	}
	return got, nil
}

// roundTrip is one request and one response.
func (l *login) roundTrip(text []byte) ([]byte, error) {
	if l.rounds++; l.rounds > maxLoginRounds {
		return nil, protocol("no end after %d login requests", maxLoginRounds)
	}
	q, r := &l.request, &l.response
	if err := l.c.Send(q, nil, text); err != nil {
		return nil, err
	}
	p, err := l.c.Receive()
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w by the target", ErrClosed)
	}
	if err != nil {
		return nil, err
	}
	if p.Header.OpCode() != pdu.OpLoginResponse {
		return nil, protocol("%v during login", p.Header.OpCode())
	}
	r.Parse(p.Header)
	switch {
	case r.Status != pdu.LoginSuccess:
		return nil, loginError(r.Status, p.Data)
	case r.TaskTag != q.TaskTag || r.ISID != q.ISID:
		return nil, protocol("login response to another request")
	case r.VersionActive != 0:
		return nil, protocol("version %d", r.VersionActive)
	case l.rounds > 1 && r.StatSN != q.ExpStatSN:
		return nil, protocol("StatSN %d, expected %d", r.StatSN, q.ExpStatSN)
	case r.Continue && r.Transit || r.Continue && len(p.Data) == 0:
		return nil, protocol("login response that continues")
	case r.Current != q.Current || r.Transit && (!q.Transit || r.Next != q.Next):
		return nil, protocol("login response of stage %d to %d, asked for %d to %d", r.Current, r.Next, q.Current, q.Next)
	}
	q.ExpStatSN = r.StatSN + 1
	return p.Data, nil
}

func loginError(s pdu.LoginStatus, data []byte) error {
	e := &LoginError{Status: s}
	if keys, err := pdu.ParsePairs(data); err == nil {
		e.TargetAddress, _ = keys.Get("TargetAddress")
	}
	return e
}

// declared takes what a target says of itself, which may stand in any answer.
func (p *Parameters) declared(k pdu.Pair) error {
	switch k.Key {
	case "TargetPortalGroupTag":
		n, err := strconv.ParseUint(k.Value, 0, 16)
		if err != nil {
			return protocol("%s=%s", k.Key, k.Value)
		}
		p.PortalGroup = uint16(n)
	case "TargetAlias":
		p.TargetAlias = k.Value
	case "MaxRecvDataSegmentLength": // each side declares its own
		return number(k, maxSegment, &p.MaxSendDataSegmentLength)
	}
	return nil
}

// settle takes one answer of the operational stage.
func (l *login) settle(k pdu.Pair) error {
	offer, offered := l.offered.Get(k.Key)
	switch {
	case k.Key == "TargetPortalGroupTag" || k.Key == "TargetAlias" || k.Key == "TargetAddress" || k.Key == "MaxRecvDataSegmentLength":
		return nil
	case !offered:
		l.refuse.Add(k.Key, "NotUnderstood")
		return nil
	case k.Value == "Reject" || k.Value == "NotUnderstood" || k.Value == "Irrelevant":
		return nil // the default stays
	}
	return l.p.settle(k, offer)
}

// settle checks the result of a negotiation against the offer and keeps it.
func (p *Parameters) settle(k pdu.Pair, offer string) error {
	limit, _ := strconv.Atoi(offer)
	switch k.Key {
	case "HeaderDigest":
		return digest(k, offer, &p.HeaderDigest)
	case "DataDigest":
		return digest(k, offer, &p.DataDigest)
	case "InitialR2T": // OR
		return boolean(k, offer == "Yes", true, &p.InitialR2T)
	case "ImmediateData": // AND
		return boolean(k, offer == "No", false, &p.ImmediateData)
	case "DataPDUInOrder", "DataSequenceInOrder": // OR
		return boolean(k, offer == "Yes", true, new(bool))
	case "MaxBurstLength":
		return number(k, limit, &p.MaxBurstLength)
	case "FirstBurstLength":
		return number(k, limit, &p.FirstBurstLength)
	case "MaxOutstandingR2T":
		if k.Value == "0" {
			return protocol("MaxOutstandingR2T=0")
		}
		return count(k, limit, &p.MaxOutstandingR2T)
	case "MaxConnections", "ErrorRecoveryLevel":
		return count(k, limit, new(int))
	}
	return nil
}

// check looks at what has to fit together once everything is settled.
func (l *login) check() error {
	p := &l.p
	switch {
	case l.o.HeaderDigest == DigestCRC32C && !p.HeaderDigest:
		return protocol("the target refused HeaderDigest=CRC32C")
	case l.o.DataDigest == DigestCRC32C && !p.DataDigest:
		return protocol("the target refused DataDigest=CRC32C")
	}
	// RFC 7143 13.14: FirstBurstLength must not exceed MaxBurstLength.
	p.FirstBurstLength = min(p.FirstBurstLength, p.MaxBurstLength)
	return nil
}

func digest(k pdu.Pair, offer string, at *bool) error {
	if !slices.Contains(strings.Split(offer, ","), k.Value) {
		return protocol("%s=%s, offered %s", k.Key, k.Value, offer)
	}
	*at = k.Value == "CRC32C"
	return nil
}

// boolean takes Yes or No; fixed says that the offer left only result.
func boolean(k pdu.Pair, fixed, result bool, at *bool) error {
	if k.Value != "Yes" && k.Value != "No" || fixed && result != (k.Value == "Yes") {
		return protocol("%s=%s", k.Key, k.Value)
	}
	*at = k.Value == "Yes"
	return nil
}

// number takes a length of 512 to limit.
func number(k pdu.Pair, limit int, at *int) error {
	n, err := strconv.ParseUint(k.Value, 0, 32)
	if err != nil || n < minSegment || n > uint64(limit) {
		return protocol("%s=%s, at most %d", k.Key, k.Value, limit)
	}
	*at = int(n)
	return nil
}

// count takes a number of up to limit.
func count(k pdu.Pair, limit int, at *int) error {
	n, err := strconv.ParseUint(k.Value, 0, 16)
	if err != nil || n > uint64(limit) {
		return protocol("%s=%s, at most %d", k.Key, k.Value, limit)
	}
	*at = int(n)
	return nil
}
