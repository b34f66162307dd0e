package array

import (
	"vvsim/pe"
	"vvsim/scsi"
	"vvsim/vasa"
	"vvsim/vvol"
)

// readCodes and writeCodes are the operation codes that VASA counts as reads and writes;
// all others are other I/O.
var (
	readCodes  = map[scsi.OpCode]bool{scsi.OpRead6: true, scsi.OpRead10: true, scsi.OpRead12: true, scsi.OpRead16: true}
	writeCodes = map[scsi.OpCode]bool{scsi.OpWrite6: true, scsi.OpWrite10: true, scsi.OpWrite12: true, scsi.OpWrite16: true, scsi.OpWriteAndVerify10: true,
		scsi.OpWriteAndVerify12: true, scsi.OpWriteAndVerify16: true, scsi.OpWriteSame10: true, scsi.OpWriteSame16: true, scsi.OpWriteAtomic16: true,
		scsi.OpCompareAndWrite: true, scsi.OpOrWrite16: true}
)

// statistics are the counters of the data path for the provider.
func (a *Array) statistics() vasa.Statistics {
	return vasa.Statistics{Volumes: func(ids []vvol.ID) []vasa.Counters {
		at := make(map[vvol.ID]int, len(ids))
		for i, id := range ids {
			at[id] = i
		}
		list := make([]vasa.Counters, len(ids))
		for _, v := range a.target.Stats() {
			if i, asked := at[v.Volume]; asked {
				list[i] = counters(v.Ops)
			}
		}
		return list
	}, Array: func() vasa.Counters {
		m := a.engine.Metrics()
		return vasa.Counters{Reads: m.Reads, Writes: m.Writes, Others: m.Flushes, ReadBytes: m.ReadBytes, WrittenBytes: m.WrittenBytes}
	}}
}

func counters(ops []pe.OpStats) (c vasa.Counters) {
	for _, o := range ops {
		switch took := o.Latency.Total; {
		case readCodes[o.OpCode]:
			c.Reads, c.ReadBytes, c.ReadTime = c.Reads+o.Count, c.ReadBytes+o.BytesIn, c.ReadTime+took
		case writeCodes[o.OpCode]:
			c.Writes, c.WrittenBytes, c.WriteTime = c.Writes+o.Count, c.WrittenBytes+o.BytesOut, c.WriteTime+took
		default:
			c.Others, c.OthersTime = c.Others+o.Count, c.OthersTime+took
		}
	}
	return c
}
