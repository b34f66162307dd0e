package iscsi

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/chap"
	"vvsim/scsi/iscsi/line"
	"vvsim/scsi/iscsi/negotiate"
	"vvsim/scsi/iscsi/pdu"
)

// loginError ends a login with a status.
type loginError struct {
	status  pdu.LoginStatus
	err     error
	address string // TargetAddress of a redirection
}

func (e *loginError) Error() string { return e.err.Error() }
func (e *loginError) Unwrap() error { return e.err }

func refuse(status pdu.LoginStatus, format string, args ...any) error {
	return &loginError{status: status, err: fmt.Errorf(format, args...)}
}

// maxLoginRequests bounds the PDUs of one login, so that a peer that sends empty
// ones ends before the time-out.
const maxLoginRequests = 64

// login is the state of one login phase (RFC 7143 6.3).
type login struct {
	c          *connection
	stage      pdu.Stage
	first      bool
	identified bool
	text       []byte // of requests with the C bit
	keys       pdu.Keys
	chap       *chap.Exchange
	authDone   bool
	done       map[string]bool   // keys negotiated
	said       map[string]string // keys declared, by which the login knows who is there
	declaredTo bool              // the target has sent its own declarations
	request    pdu.LoginRequest
}

// login runs the login phase; the connection is in full feature phase when it
// returns nil.
func (c *connection) login() error {
	l := &login{c: c, first: true, done: map[string]bool{}, said: map[string]string{}}
	deadline := time.Now().Add(c.server.o.LoginTimeout)
	if err := c.in.SetDeadline(deadline); err != nil {
		return err
	}
	for range maxLoginRequests {
		p, err := l.read()
		if err != nil {
			return l.failed(err)
		}
		finished, err := l.step(p)
		if err != nil {
			return l.failed(err)
		}
		if finished {
			return nil
		}
	}
	return l.failed(refuse(pdu.LoginInitiatorError, "more than %d login requests", maxLoginRequests))
}

// read returns the next PDU, which has to be a login request.
func (l *login) read() (received, error) {
	for {
		p, ok, err := l.c.in.Next()
		switch {
		case errors.Is(err, line.ErrTooLong):
			return p, refuse(pdu.LoginInitiatorError, "%w", err)
		case err != nil:
			return p, err
		case !ok:
			if err := l.c.in.Fill(); err != nil {
				return p, err
			}
			continue
		case p.Header.OpCode() != pdu.OpLoginRequest:
			l.request.TaskTag = p.Header.TaskTag()
			return p, refuse(pdu.LoginInvalidDuringLogin, "%v during login", p.Header.OpCode())
		case len(p.AHS) > 0:
			return p, refuse(pdu.LoginInitiatorError, "login request with additional header segments")
		}
		return p, nil
	}
}

// failed answers a refused login and tells of it. The connection ends.
func (l *login) failed(err error) error {
	var refused *loginError
	status := pdu.LoginTargetError
	if errors.As(err, &refused) {
		status = refused.status
		var text []byte
		if refused.address != "" {
			text = pdu.Keys{{Key: "TargetAddress", Value: refused.address}}.AppendTo(nil)
		}
		r := &pdu.LoginResponse{Current: l.stage, DataLength: len(text), ISID: l.request.ISID, TSIH: l.request.TSIH,
			TaskTag: l.request.TaskTag, Status: status}
		l.c.send(&r.Window, r, text)
		l.c.out.drain()
	}
	if f := l.c.server.o.Events.LoginFailed; f != nil {
		f(l.c.nc.RemoteAddr().String(), l.c.port.name, status, err)
	}
	return err
}

// step handles one login request.
func (l *login) step(p received) (finished bool, err error) {
	first := l.first
	previous := l.request
	l.request.Parse(p.Header)
	l.first = false
	q := &l.request
	switch {
	case q.VersionMin > 0:
		return false, refuse(pdu.LoginUnsupportedVersion, "version %d at least", q.VersionMin)
	case q.Current != pdu.SecurityNegotiation && q.Current != pdu.OperationalNegotiation:
		return false, refuse(pdu.LoginInitiatorError, "stage %d", q.Current)
	case q.Transit && (q.Next <= q.Current || q.Next == 2 || q.Continue):
		return false, refuse(pdu.LoginInitiatorError, "transit from stage %d to %d", q.Current, q.Next)
	case !first && (q.TaskTag != previous.TaskTag || q.ISID != previous.ISID || q.CID != previous.CID || q.TSIH != previous.TSIH):
		return false, refuse(pdu.LoginInitiatorError, "login requests that do not belong together")
	case !first && q.Current != l.stage:
		return false, refuse(pdu.LoginInitiatorError, "stage %d instead of %d", q.Current, l.stage)
	}
	if first {
		l.stage = q.Current
		l.c.out.statSN = q.ExpStatSN
		l.c.window.start(q.CmdSN, l.c.server.o.CommandWindow)
		l.c.cid = q.CID
	}
	if len(l.text)+len(p.Data) > pdu.MaxTextLength {
		return false, refuse(pdu.LoginInitiatorError, "more than %d bytes of text", pdu.MaxTextLength)
	}
	l.text = append(l.text, p.Data...)
	if q.Continue {
		l.answer(nil, false)
		return false, nil
	}
	l.keys, err = pdu.ParseKeys(l.text)
	l.text = l.text[:0]
	if err != nil {
		return false, refuse(pdu.LoginInitiatorError, "%w", err)
	}
	if !l.identified { // the keys of the first request, in however many PDUs they came
		l.identified = true
		if err := l.identify(); err != nil {
			return false, err
		}
	}
	if err := l.admissible(); err != nil {
		return false, err
	}
	return l.negotiate()
}

// admissible judges the keys of one request by what was said before and by the
// stage. A declaration stands once (RFC 7143 6.2); one that is repeated unchanged
// does no harm, and libiscsi names its initiator in both stages. Security keys
// belong to the security stage and no other keys to it (RFC 7143 12): operational
// ones pass there as long as nobody has to authenticate first.
func (l *login) admissible() error {
	for _, k := range l.keys {
		before, known := l.said[k.Key]
		switch {
		case negotiate.Declared(k.Key):
			if known && before != k.Value {
				return refuse(pdu.LoginInitiatorError, "%s=%q after %q", k.Key, k.Value, before)
			}
			l.said[k.Key] = k.Value
		case k.Key == "AuthMethod" && l.stage == pdu.SecurityNegotiation && l.done[k.Key]:
			return refuse(pdu.LoginInitiatorError, "AuthMethod negotiated twice")
		case negotiate.Security(k.Key) && k.Key != "AuthMethod" && l.stage != pdu.SecurityNegotiation,
			negotiate.Operational(k.Key) && l.stage == pdu.SecurityNegotiation && !l.authDone:
			return refuse(pdu.LoginInitiatorError, "%s in stage %d", k.Key, l.stage)
		}
	}
	return nil
}

// identify reads who logs in to what (RFC 7143 6.3.1); the first request has to say.
func (l *login) identify() error {
	c, o := l.c, &l.c.server.o
	name, ok := l.keys.Get("InitiatorName")
	if !ok {
		return refuse(pdu.LoginMissingParameter, "no InitiatorName")
	}
	if err := negotiate.CheckName(name); err != nil {
		return refuse(pdu.LoginInitiatorError, "%w", err)
	}
	kind, ok := l.keys.Get("SessionType")
	c.discovery = kind == "Discovery"
	if ok && kind != "Discovery" && kind != "Normal" {
		return refuse(pdu.LoginSessionTypeRefused, "session type %q", kind)
	}
	c.port = initiatorPort{name, l.request.ISID, c.group}
	if err := o.Paths.Identified(c, name); err != nil {
		return refusal(name, err)
	}
	if err := c.in.Stay(); err != nil {
		return err
	}
	target, ok := l.keys.Get("TargetName")
	switch {
	case !c.discovery && !ok:
		return refuse(pdu.LoginMissingParameter, "no TargetName")
	case !c.discovery && target != o.TargetName:
		return refuse(o.UnavailableLogin(), "target %q", target)
	case l.request.TSIH != 0:
		if err := l.rejoin(); err != nil {
			return err
		}
	}
	credentials, err := o.Access.Login(name, c.discovery)
	if err != nil {
		return refusal(name, err)
	}
	if credentials.CHAP == nil {
		l.authDone = true
		return nil
	}
	l.chap = chap.New(credentials.CHAP, credentials.Mutual)
	return nil
}

// refusal is the login's error for one of Paths or Access.
func refusal(name string, err error) error {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return &loginError{r.Status, fmt.Errorf("%s: %w", name, err), r.TargetAddress}
	}
	return refuse(pdu.LoginAuthorizationFailed, "%s: %w", name, err)
}

// rejoin judges a login to a session that exists. With the CID of its connection it
// takes that one's place once it has authenticated (RFC 7143 6.3.4): at
// ErrorRecoveryLevel 0 the old connection's tasks end with it, and the nexus begins
// anew, which its first unit attention tells. As MaxConnections is 1 no other joins.
func (l *login) rejoin() error {
	old := l.c.server.session(l.request.TSIH, l.c.port)
	switch {
	case old == nil || old.discovery || l.c.discovery:
		return refuse(pdu.LoginSessionDoesNotExist, "TSIH %d", l.request.TSIH)
	case old.cid != l.request.CID:
		return refuse(pdu.LoginTooManyConnections, "TSIH %d has its connection", l.request.TSIH)
	}
	l.c.tsih = l.request.TSIH
	return nil
}

// negotiate answers the keys of one whole request and moves to the next stage.
func (l *login) negotiate() (finished bool, err error) {
	var answers pdu.Keys
	if l.stage == pdu.SecurityNegotiation {
		if answers, err = l.authenticate(); err != nil {
			return false, err
		}
	} else if !l.authDone {
		return false, refuse(pdu.LoginAuthenticationFailed, "%s has to authenticate", l.c.port.name)
	} else if _, late := l.keys.Get("AuthMethod"); late {
		answers.Add("AuthMethod", negotiate.Reject) // its stage is over, or was passed over
	}
	more, err := l.c.p.Negotiate(l.keys, l.c.discovery, l.done)
	if err != nil {
		return false, refuse(pdu.LoginInitiatorError, "%w", err)
	}
	answers = append(answers, more...)
	l.declare(&answers)
	if n := len(answers.AppendTo(nil)); n > loginDataSegment {
		return false, refuse(pdu.LoginInitiatorError, "keys that need an answer of %d bytes", n)
	}
	if !l.request.Transit || !l.authDone {
		l.answer(answers, false)
		return false, nil
	}
	if l.request.Next != pdu.FullFeaturePhase {
		l.answer(answers, true)
		l.stage = l.request.Next
		return false, nil
	}
	return true, l.finish(answers)
}

// authenticate handles the security stage.
func (l *login) authenticate() (answers pdu.Keys, err error) {
	method, offered := l.keys.Get("AuthMethod")
	l.done["AuthMethod"] = l.done["AuthMethod"] || offered
	switch {
	case !offered:
	case l.chap == nil:
		if !contains(method, "None") {
			return nil, refuse(pdu.LoginAuthenticationFailed, "no common authentication method in %q", method)
		}
		answers.Add("AuthMethod", "None")
	case !contains(method, "CHAP"):
		return nil, refuse(pdu.LoginAuthenticationFailed, "%s offers %q, CHAP is needed", l.c.port.name, method)
	default:
		answers.Add("AuthMethod", "CHAP")
	}
	if l.chap == nil {
		return answers, nil
	}
	if !offered && !l.chap.Begun() && l.request.Transit {
		return nil, refuse(pdu.LoginAuthenticationFailed, "%s has to authenticate", l.c.port.name)
	}
	more, err := l.chap.Next(l.keys)
	if err != nil {
		return nil, refuse(pdu.LoginAuthenticationFailed, "%w", err)
	}
	l.authDone = l.chap.Done()
	return append(answers, more...), nil
}

func contains(list, v string) bool { return slices.Contains(strings.Split(list, ","), v) }

// declare adds what the target says of itself: its portal group in the first
// answer (RFC 7143 6.3.1), its own limits once the operational stage is reached.
func (l *login) declare(answers *pdu.Keys) {
	if !l.done["TargetPortalGroupTag"] && !l.c.discovery {
		l.done["TargetPortalGroupTag"] = true
		answers.Add("TargetPortalGroupTag", strconv.Itoa(int(l.c.group)))
		if a := l.c.server.o.TargetAlias; a != "" {
			answers.Add("TargetAlias", a)
		}
	}
	if l.stage == pdu.OperationalNegotiation && !l.declaredTo {
		l.declaredTo = true
		answers.Add("MaxRecvDataSegmentLength", strconv.Itoa(maxRecvDataSegment))
	}
}

// answer sends a login response in the present stage.
func (l *login) answer(answers pdu.Keys, transit bool) {
	l.respond(answers, transit, 0)
	l.c.out.flush()
}

func (l *login) respond(answers pdu.Keys, transit bool, tsih uint16) {
	text := answers.AppendTo(nil)
	r := &pdu.LoginResponse{Transit: transit, Current: l.stage, DataLength: len(text), ISID: l.request.ISID,
		TSIH: tsih, TaskTag: l.request.TaskTag}
	if transit {
		r.Next = l.request.Next
	}
	l.c.send(&r.Window, r, text)
}

// finish enters full feature phase: the session exists before its initiator
// hears of it.
func (l *login) finish(answers pdu.Keys) error {
	c := l.c
	status, err := c.server.establish(c)
	if err != nil {
		return refuse(status, "%w", err)
	}
	if !c.discovery {
		n := &scsi.Nexus{NexusID: scsi.NexusID{Initiator: c.port.name, ISID: c.port.isid, TargetPort: c.group}, Session: c.id}
		if err := c.server.o.Target.NexusEstablished(n); err != nil {
			return refuse(pdu.LoginOutOfResources, "%w", err)
		}
		c.nexus = n
	}
	if err := c.in.SetDeadline(time.Time{}); err != nil {
		return err
	}
	// Everything is in place before the initiator hears of it; the response itself
	// has no digests.
	l.respond(answers, true, c.tsih)
	c.in.MaxData = maxRecvDataSegment
	c.in.HeaderDigest, c.in.DataDigest = c.p.HeaderDigest, c.p.DataDigest
	c.out.mu.Lock()
	c.out.headerDigest, c.out.dataDigest = c.p.HeaderDigest, c.p.DataDigest
	c.out.mu.Unlock()
	c.full.Store(true)
	c.out.flush()
	return nil
}
