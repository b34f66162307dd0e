// Package trust holds the keys and certificates of a VASA provider and knows whom
// the provider trusts: the certificate part of VASA 1.0 to 4.0, without SOAP and
// HTTP.
//
// A Store is opened on a directory, or in memory. The directory holds
//
//	authority.pem   key and certificate of the provider's own CA, ten years
//	ca.pem          certificates that verify what the provider serves: the own CA
//	                first, then the anchor of a certificate from elsewhere
//	server.pem      key and chain that the TLS server serves
//	pending.pem     keys of certificate signing requests that were not answered yet
//	clients         roots, CRLs and single certificates of registered clients
//	vasa-password   the password of the provider's user
//
// all with mode 0600 in a directory of mode 0700, replaced atomically. A file that is
// damaged or that this package did not write ends Open with a DamagedError that names
// it; nothing is overwritten. Without authority.pem nothing else may exist. Any of the
// others may be removed by hand while no process uses the directory: the own
// certificate and the password are made anew, registrations and pending requests are
// forgotten. One process uses a directory at a time; the caller sees to that.
//
// # The served certificate
//
// The first start makes the CA and a server certificate signed by it, for localhost,
// the host's name and every listen address. A later start that needs a name the
// certificate lacks, or finds it expired, issues it again with the same key; a name no
// longer needed stays until then, so that a thumbprint that vCenter confirmed lives as
// long as it can. Certificates that a vCenter signed (RequestCSR, InstallSigned) or
// that were imported are never replaced by a start; what they lack is a warning in the
// report. Renew goes back to the own CA, with a new key. The CA's certificate is
// renewed with the same key and name when less than a year of it is left at such a
// moment: files that clients hold stay good until their own date.
//
// The own CA and its certificates are ECDSA P-256. Keys for signing requests are RSA
// with 3072 bits by default, which every VMCA signs.
//
// # Trust in clients
//
// A client certificate is trusted when it was registered itself, byte by byte
// (registerVASACertificate), or was issued below a root of any registration
// (registerCACertificatesAndCRLs), and every certificate on the way is within its dates
// and on no CRL. Decisions that the contract leaves open:
//
//   - A registration belongs to an owner, a name that the caller gives. Without one it
//     is the registration that shares a root with what is registered, or a new one that
//     is named after its first root. Register adds to the owner's roots, Refresh replaces
//     them. Several owners are trusted at once while the provider keeps its own
//     certificate (Options.Retain); otherwise the newest registration replaces the others,
//     because its vCenter will replace the provider's certificate as well.
//   - A root is a CA certificate, self-signed or not (a subordinate VMCA is an anchor of
//     its own), or a self-signed certificate that is no CA, which is then trusted itself
//     and can issue nothing.
//   - A root that is expired or not yet valid is refused at registration (option
//     SkipExpiredRoots drops it while others remain). One that expires in the store, or
//     that this build cannot parse, is skipped and reported.
//   - A CRL takes effect for every certificate of its issuer, whoever registered it, when
//     its signature verifies with the issuer's key. One whose issuer is a known root with
//     another key is refused; one of an unknown issuer is kept, since its issuer may come
//     as an intermediate in a client's chain. Of several of one issuer and scope the newest
//     counts.
//   - A CRL past its next update goes on revoking what it lists and nothing else: VMCA's
//     are short-lived and a vCenter is not bound to send them again, so refusing all its
//     hosts would take the lab down. The report warns. Option StrictCRLDates refuses CRLs
//     out of date at registration.
//   - Extended key usage of clients is not enforced: VMCA issues host certificates without
//     client authentication. The identity carries a note instead.
//
// # TLS
//
// A client certificate is asked for and never judged in the handshake, because the
// bootstrap calls come with none or an unknown one; what remains is what crypto/tls
// does by itself: it refuses a certificate that is no X.509 and a client that does not
// hold its key. There is no session resumption, so that every connection proves
// possession of its key.
//
// The package starts no goroutine and logs nothing. All methods are safe for concurrent
// use; Verify takes no lock that a change holds while it writes to disk.
package trust
