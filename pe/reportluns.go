package pe

import (
	"slices"

	"vvsim/scsi"
)

// SELECT REPORT values of REPORT LUNS (SPC-4 6.33, scsi.md 1.6).
const (
	selectAccessible     = 0x00 // all but well-known logical units
	selectWellKnown      = 0x01
	selectAll            = 0x02
	selectAdministrative = 0x10
	selectNonSubsidiary  = 0x11 // what ESXi sends
	selectConglomerate   = 0x12 // the addressed administrative LU and its subsidiaries
)

// reportLUNs is the content of REPORT LUNS as nexus n sees it, sent to the
// logical unit at addressed. On a protocol endpoint 00h lists the host's own
// bindings and nothing else, as real arrays do; elsewhere no subsidiary shows.
func (t *Target) reportLUNs(n *scsi.Nexus, addressed scsi.LUN, selectReport byte) ([]scsi.LUN, *scsi.SenseData) {
	_, number, single := addressed.SingleLevel()
	administrative := single && t.pes.get(number) != nil && addressed == scsi.SimpleLUN(uint16(number))
	switch selectReport {
	case selectAccessible:
		if administrative {
			return t.subsidiaryLUNs(n, addressed), nil
		}
		return append(t.diskLUNs(), t.endpointLUNs()...), nil
	case selectWellKnown:
		return []scsi.LUN{scsi.ReportLUNsWellKnown}, nil
	case selectAll:
		all, _ := t.reportLUNs(n, addressed, selectAccessible)
		return append(all, scsi.ReportLUNsWellKnown), nil
	case selectAdministrative:
		return t.endpointLUNs(), nil
	case selectNonSubsidiary:
		return append(t.diskLUNs(), t.endpointLUNs()...), nil
	case selectConglomerate:
		if !administrative {
			s := scsi.Sense(scsi.IllegalRequest, scsi.NotAdministrativeLU)
			return nil, &s
		}
		return append([]scsi.LUN{addressed}, t.subsidiaryLUNs(n, addressed)...), nil
	}
	s := scsi.InvalidFieldInCDB(2)
	return nil, &s
}

func (t *Target) diskLUNs() []scsi.LUN {
	var numbers []uint16
	for k := range t.disks.all {
		numbers = append(numbers, uint16(k))
	}
	slices.Sort(numbers)
	luns := make([]scsi.LUN, 0, len(numbers)+len(t.endpoints))
	for _, n := range numbers {
		luns = append(luns, scsi.DiskLUN(n))
	}
	return luns
}

func (t *Target) endpointLUNs() []scsi.LUN {
	luns := make([]scsi.LUN, 0, len(t.endpoints))
	for _, e := range t.endpoints {
		luns = append(luns, scsi.SimpleLUN(e.LUN))
	}
	return luns
}

// subsidiaryLUNs lists the bindings of the nexus's host below a protocol endpoint.
func (t *Target) subsidiaryLUNs(n *scsi.Nexus, pe scsi.LUN) []scsi.LUN {
	_, number, _ := pe.SingleLevel()
	var ids []uint64
	for key := range n.Routes.(*host).subs.all {
		if key>>40 == number {
			ids = append(ids, key&scsi.MaxSubsidiary)
		}
	}
	slices.Sort(ids)
	luns, form := make([]scsi.LUN, 0, len(ids)), t.o.Knobs().SubsidiaryForm
	for _, id := range ids {
		luns = append(luns, scsi.SubsidiaryLUNIn(form, pe, id))
	}
	return luns
}
