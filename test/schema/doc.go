// Package schema validates what tests exchange against the reconstructed schema of the VASA
// contract (vasa.md, "Files to validate against"). The schema is no part of the project, and
// xmllint is a program of Debian's libxml2-utils: where one of them is missing nothing is
// validated, and each test binary says so once.
package schema
