package iscsi

import (
	"errors"
	"fmt"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/chap"
	"vvsim/scsi/iscsi/pdu"
)

// Options of a Server. Zero values take the defaults named below.
type Options struct {
	TargetName  string
	TargetAlias string
	Target      scsi.Target
	Access      Access
	Paths       Paths // nil: what the network does is all that happens to connections
	// Portals lists what SendTargets reports; it may change while running.
	Portals func() []PortalAddress

	MaxSessions    int           // of all portals; a login beyond is refused with 0302h
	MaxLogins      int           // connections that have not finished their login; one beyond ends the oldest
	CommandWindow  int           // commands of one session, 16-4096
	LoginTimeout   time.Duration // from accept to full feature phase
	NOPInterval    time.Duration // silence after which the target pings
	NOPTimeout     time.Duration // silence after a ping that ends the connection
	WriteTimeout   time.Duration // a socket that takes next to nothing for so long ends the connection
	LogoutTimeout  time.Duration // for running commands at Shutdown
	LogoutGrace    time.Duration // for initiators to log out or hear of the end, where nothing runs
	ManagementWait time.Duration // for aborted tasks before a task management response
	// UnavailableLogin is the answer to a login to another target's name (scsi.md
	// 2.7); it may change while running. nil: target not found.
	UnavailableLogin func() pdu.LoginStatus

	Events Events
}

// Defaults and limits.
const (
	DefaultMaxSessions    = 8192
	DefaultMaxLogins      = 1024
	DefaultCommandWindow  = 256
	DefaultLoginTimeout   = 15 * time.Second
	DefaultNOPInterval    = 30 * time.Second
	DefaultNOPTimeout     = 30 * time.Second
	DefaultWriteTimeout   = 30 * time.Second
	DefaultLogoutTimeout  = 3 * time.Second
	DefaultLogoutGrace    = time.Second
	DefaultManagementWait = 30 * time.Second

	minCommandWindow = 16
	maxCommandWindow = 4096

	maxRecvDataSegment = 256 << 10 // declared by the target (scsi.md 4.1)
	loginDataSegment   = 8192      // before negotiation (RFC 7143 13.12)
	maxDataOut         = 16 << 20  // Data-Out of one command; devices advertise less
	maxAdmitted        = 64 << 20  // buffers of Data-Out that one connection has asked for
	maxReads           = 64 << 20  // Data-In of one connection that is being read or waits to be sent
	maxImmediate       = 32        // immediate commands and task management functions beside the window
)

// Access says who may log in and with which secrets. Safe for concurrent use.
type Access interface {
	// Login returns what an initiator has to prove. ErrNotAuthorized refuses the
	// name (login status 0202h), a *Refusal with a status of its own.
	Login(initiator string, discovery bool) (Credentials, error)
}

// ErrNotAuthorized is an initiator name that may not log in.
var ErrNotAuthorized = errors.New("initiator is not authorized")

// Refusal is the error of Access.Login and Paths.Identified that ends a login with another status than 0202h.
type Refusal struct {
	Status        pdu.LoginStatus
	Reason        string
	TargetAddress string // of a redirection (RFC 7143 13.8), else ""
}

func (r *Refusal) Error() string { return r.Reason }

// Credentials of one initiator. A nil CHAP asks for nothing; Mutual is what the
// target proves with when the initiator asks it to.
type Credentials struct{ CHAP, Mutual *CHAP }

// CHAP is one direction's name and secret.
type CHAP = chap.Party

// PortalAddress is one portal as initiators reach it.
type PortalAddress struct {
	Address string // host:port
	Group   uint16 // target portal group tag, from 1
}

// Events are told from any goroutine; nil functions are passed over.
type Events struct {
	SessionOpened func(SessionInfo)
	SessionClosed func(SessionInfo, error) // nil error: logout or drop
	LoginFailed   func(remote, initiator string, status pdu.LoginStatus, err error)
	Rejected      func(SessionInfo, pdu.OpCode, pdu.RejectReason)
	Panic         func(SessionInfo, any, []byte) // value and stack
}

func (o *Options) ensureDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.LoginTimeout, DefaultLoginTimeout)
	def(&o.NOPInterval, DefaultNOPInterval)
	def(&o.NOPTimeout, DefaultNOPTimeout)
	def(&o.WriteTimeout, DefaultWriteTimeout)
	def(&o.LogoutTimeout, DefaultLogoutTimeout)
	def(&o.LogoutGrace, DefaultLogoutGrace)
	def(&o.ManagementWait, DefaultManagementWait)
	if o.MaxSessions == 0 {
		o.MaxSessions = DefaultMaxSessions
	}
	if o.MaxLogins == 0 {
		o.MaxLogins = DefaultMaxLogins
	}
	if o.CommandWindow == 0 {
		o.CommandWindow = DefaultCommandWindow
	}
	if o.Paths == nil {
		o.Paths = undisturbed{}
	}
	if o.UnavailableLogin == nil {
		o.UnavailableLogin = func() pdu.LoginStatus { return pdu.LoginTargetNotFound }
	}
}

func (o *Options) validate() error {
	switch {
	case o.Target == nil || o.Access == nil || o.Portals == nil || o.TargetName == "":
		return errors.New("iscsi: Target, Access, Portals and TargetName are needed")
	case o.CommandWindow < minCommandWindow || o.CommandWindow > maxCommandWindow:
		return fmt.Errorf("iscsi: command window %d is not in %d-%d", o.CommandWindow, minCommandWindow, maxCommandWindow)
	case o.MaxLogins < 1:
		return fmt.Errorf("iscsi: %d logins at a time", o.MaxLogins)
	case o.MaxSessions < 1 || o.MaxSessions > 65535:
		return fmt.Errorf("iscsi: %d sessions are not in 1-65535", o.MaxSessions)
	}
	return nil
}
