// Package vcenter registers VASA providers with a vCenter and tells how it sees them: a
// client of the storage monitoring service (SMS), which is at /sms/sdk of a vCenter and
// is called with the session of the vCenter's own API (vasa.md 1.1, 1.5).
//
// A Target is read from the variables that govc reads; Connect logs in and gives a
// Session, which Close logs out. Every call ends with its context. Faults of SMS come
// as *FaultError, which says what the fault means and what to do about it.
//
// # Whom vCenter trusts
//
// A provider's certificate is looked at twice: by the caller, who connects with Present
// and has a person confirm the thumbprint, and by vCenter, which makes a connection of
// its own. The confirmed certificate goes with the registration, so that vCenter refuses
// another one. vCenter's answer to a certificate that it does not know is the fault
// CertificateNotTrusted with the certificate as it saw it; when that is the confirmed one,
// Register sends it once more in the spelling of the fault, as the form that SMS takes (PEM
// or bare base64) is not documented.
//
// A Session is safe for concurrent use until it is closed.
package vcenter
