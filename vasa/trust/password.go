package trust

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// account checks the provider's one user, and counts failures by the name that was
// given. What it counts lives as long as the process.
type account struct {
	user, password string
	maximum        int
	lock           time.Duration

	mu     sync.Mutex
	own    failures
	others map[string]failures // so that a lock-out does not tell which user exists
}

type failures struct {
	count int
	last  time.Time
}

// credential refuses what no login can carry.
func credential(what, value string) error {
	switch {
	case value == "":
		return fmt.Errorf("%s is empty", what)
	case len(value) > MaxCredential:
		return fmt.Errorf("%s of more than %d bytes", what, MaxCredential)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("%s with characters that cannot be typed", what)
	}
	return nil
}

// loadPassword reads the password, or makes one of 130 random bits.
func (s *Store) loadPassword() (string, error) {
	if s.options.Password != "" {
		return s.options.Password, nil
	}
	data, err := s.disk.read(filePassword)
	if err != nil {
		return "", err
	}
	if data == nil {
		password := rand.Text()
		return password, s.disk.write(filePassword, []byte(password+"\n"))
	}
	password := strings.TrimRight(string(data), "\r\n")
	if credential("password", password) != nil {
		return "", s.disk.damaged(filePassword, errors.New("it does not hold one line with a password"))
	}
	return password, nil
}

// Login checks the credentials of a registration: ErrLogin when they are wrong, a
// LockedError when the user had too many wrong passwords, whatever the password is now.
func (s *Store) Login(user, password string) error {
	return s.account.login(user, password, s.options.Clock())
}

func (a *account) login(user, password string, now time.Time) error {
	sameUser, samePassword := same(user, a.user), same(password, a.password)
	key := user
	if len(key) > MaxCredential {
		key = key[:MaxCredential]
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.own
	if sameUser == 0 {
		f = a.others[key]
	}
	// A clock that was set back does not lock for longer than the lock time.
	if now.Sub(f.last) >= a.lock || now.Before(f.last) {
		f.count = 0
	}
	if a.maximum > 0 && f.count >= a.maximum {
		return &LockedError{User: key, Until: f.last.Add(a.lock)}
	}
	if sameUser&samePassword == 1 {
		a.own = failures{}
		return nil
	}
	f.count, f.last = f.count+1, now
	if sameUser == 1 {
		a.own = f
	} else {
		a.remember(key, f)
	}
	return ErrLogin
}

// remember keeps the failures of a foreign name, in the place of the oldest if needed.
func (a *account) remember(key string, f failures) {
	if _, known := a.others[key]; !known && len(a.others) >= maxLockedUsers {
		var oldest string
		for name, g := range a.others {
			if oldest == "" || g.last.Before(a.others[oldest].last) {
				oldest = name
			}
		}
		delete(a.others, oldest)
	}
	a.others[key] = f
}

// same compares in a time that tells nothing of what differs.
func same(x, y string) int {
	a, b := sha256.Sum256([]byte(x)), sha256.Sum256([]byte(y))
	return subtle.ConstantTimeCompare(a[:], b[:])
}

// User is the name that registrations log in with.
func (s *Store) User() string { return s.account.user }

// Password is that user's, for the one who may read the directory. It belongs into no
// log and no answer.
func (s *Store) Password() string { return s.account.password }
