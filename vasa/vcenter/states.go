package vcenter

import smstypes "github.com/vmware/govmomi/sms/types"

// StateMeans explains the state of a provider as vCenter shows it (vasa.md 1.5).
func StateMeans(state string) string {
	if text, ok := states()[smstypes.VasaProviderStatus(state)]; ok {
		return text
	}
	return "a state that this version of vvsim has no words for"
}

func states() map[smstypes.VasaProviderStatus]string {
	return map[smstypes.VasaProviderStatus]string{
		smstypes.VasaProviderStatusOnline:       "it answers, and vCenter has read its inventory",
		smstypes.VasaProviderStatusOffline:      "it does not answer; vCenter goes on polling it, so it comes back by itself when array and network do",
		smstypes.VasaProviderStatusSyncError:    "it answers, but vCenter could not read its inventory; the array's log names the operation that failed",
		smstypes.VasaProviderStatusConnected:    "it answers, and vCenter has not read its inventory yet; that follows by itself, or with a rescan of the provider",
		smstypes.VasaProviderStatusDisconnected: "vCenter has no valid TLS connection to it and has stopped trying; mend the certificate, then register it again",
		smstypes.VasaProviderStatusUnknown:      "it cannot be reached (a state of vCenters before 6.0)",
	}
}

// CertificateStateMeans explains the state of a provider's certificate.
func CertificateStateMeans(state string) string {
	if text, ok := certificateStates()[smstypes.VasaProviderCertificateStatus(state)]; ok {
		return text
	}
	return "a state that this version of vvsim has no words for"
}

func certificateStates() map[smstypes.VasaProviderCertificateStatus]string {
	return map[smstypes.VasaProviderCertificateStatus]string{
		smstypes.VasaProviderCertificateStatusValid:                  "it is in order",
		smstypes.VasaProviderCertificateStatusExpirySoftLimitReached: "it will expire; plan its renewal",
		smstypes.VasaProviderCertificateStatusExpiryHardLimitReached: "it is about to expire; renew it now",
		smstypes.VasaProviderCertificateStatusExpired:                "it has expired; renew it, then register the provider again",
		smstypes.VasaProviderCertificateStatusInvalid:                "vCenter does not accept it any more; renew it, then register the provider again",
	}
}
