package fault

// Login counts a login of an initiator and tells the status that a rule of layer login
// refuses it with (RFC 7143 11.13.5); false lets it in. Safe for concurrent use.
func (i *Injector) Login(initiator string) (status uint16, refused bool) {
	rules := i.logins.Load()
	if rules == nil {
		return 0, false
	}
	for _, e := range *rules {
		if (e.host == "" || e.host == initiator) && i.strike(e) {
			return e.action.status, true
		}
	}
	return 0, false
}
