package array

import (
	"vvsim/scsi/iscsi"
)

// access answers the target's question who may log in and with which secrets
// (contract.md 6).
type access struct{ c ISCSIConfig }

// Login implements iscsi.Access.
func (a access) Login(initiator string, discovery bool) (iscsi.Credentials, error) {
	if discovery {
		return iscsi.Credentials{CHAP: secret(a.c.DiscoveryCHAP)}, nil
	}
	for _, in := range a.c.Initiators {
		if in.IQN != initiator {
			continue
		}
		chap := in.CHAP
		if chap == nil {
			chap = a.c.CHAP
		}
		return iscsi.Credentials{CHAP: secret(chap), Mutual: secret(in.Mutual)}, nil
	}
	if len(a.c.Initiators) > 0 {
		return iscsi.Credentials{}, iscsi.ErrNotAuthorized
	}
	return iscsi.Credentials{CHAP: secret(a.c.CHAP)}, nil
}

func secret(c *CHAP) *iscsi.CHAP {
	if c == nil {
		return nil
	}
	return &iscsi.CHAP{User: c.User, Secret: []byte(c.Secret)}
}
