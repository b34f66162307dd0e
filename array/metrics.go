package array

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"vvsim/pe"
	"vvsim/scsi/iscsi"
	"vvsim/scsi/latency"
	"vvsim/vvol/store"
)

// Limits of what /metrics shows one by one. A volume is a few series for each
// operation code that it saw, a session is five and a histogram. Both go with what they are of;
// beyond the limit the first by id stay, so that a series does not come and go.
const (
	maxVolumesShown  = 1000
	maxSessionsShown = 1000
)

// collector shows the counters of all parts to Prometheus at scrape time; the
// data path itself only adds to plain atomics.
type collector struct {
	engine   func() store.Metrics
	volumes  func() []pe.VolumeStats
	sessions func() []iscsi.SessionInfo
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("vvsim_"+name, help, labels, nil)
}

var (
	luCommands = desc("lu_commands_total", "SCSI commands executed.", "vvol", "name", "opcode")
	luErrors   = desc("lu_errors_total", "SCSI commands that ended with another status than GOOD.", "vvol", "name", "opcode")
	luBytes    = desc("lu_bytes_total", "Payload bytes; direction in is from the volume.", "vvol", "name", "opcode", "direction")
	luLatency  = desc("lu_latency_seconds", "Time of a command in the device server.", "vvol", "name", "opcode")
	luAttached = desc("lu_attached", fmt.Sprintf("Attached volumes that saw a command; the figures by volume are of the first %d.", maxVolumesShown))

	sessionCommands = desc("session_commands_total", "SCSI commands received.", "session", "initiator", "portal")
	sessionBytes    = desc("session_bytes_total", "Payload bytes; direction in is to the initiator.", "session", "initiator", "portal", "direction")
	sessionErrors   = desc("session_errors_total", "SCSI commands answered with another status than GOOD.", "session", "initiator", "portal")
	sessionLatency  = desc("session_latency_seconds", "Time from the turn of a SCSI command to its answer, data from the initiator included.", "session", "initiator", "portal")
	sessionInFlight = desc("session_in_flight", "SCSI commands being executed.", "session", "initiator", "portal")
	sessionsOpen    = desc("sessions_open", fmt.Sprintf("Sessions in full feature phase; the figures by session are of the first %d.", maxSessionsShown))
)

// engineFigure is one that every engine has.
type engineFigure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(m store.Metrics) uint64
}

var engineFigures = []engineFigure{
	{desc("engine_live_bytes", "Data that some volume can see."), prometheus.GaugeValue, func(m store.Metrics) uint64 { return m.Live }},
	{desc("engine_disk_bytes", "Data and logs on disk."), prometheus.GaugeValue, func(m store.Metrics) uint64 { return m.Disk }},
	{desc("engine_garbage_bytes", "Dead data on disk that waits for collection."), prometheus.GaugeValue, func(m store.Metrics) uint64 { return m.Garbage }},
	{desc("engine_reclaimed_bytes_total", "Space given back since start."), prometheus.CounterValue, func(m store.Metrics) uint64 { return m.Reclaimed }},
	{desc("engine_reclaim_bytes_per_second", "Space given back per second, over the last minute."), prometheus.GaugeValue, func(m store.Metrics) uint64 { return m.ReclaimRate }},
	{desc("engine_pending_bytes", "Data of deleted layers that waits for collection."), prometheus.GaugeValue, func(m store.Metrics) uint64 { return m.Pending }},
	{desc("engine_dirty_bytes", "Acknowledged data that only the journal holds."), prometheus.GaugeValue, func(m store.Metrics) uint64 { return m.Dirty }},
	{desc("engine_volumes", "Volumes."), prometheus.GaugeValue, func(m store.Metrics) uint64 { return uint64(m.Volumes) }},
	{desc("engine_layers", "Layers, those of deleted volumes included."), prometheus.GaugeValue, func(m store.Metrics) uint64 { return uint64(m.Layers) }},
	{desc("engine_reads_total", "Reads of volumes."), prometheus.CounterValue, func(m store.Metrics) uint64 { return m.Reads }},
	{desc("engine_read_bytes_total", "Bytes read of volumes."), prometheus.CounterValue, func(m store.Metrics) uint64 { return m.ReadBytes }},
	{desc("engine_writes_total", "Writes to volumes."), prometheus.CounterValue, func(m store.Metrics) uint64 { return m.Writes }},
	{desc("engine_written_bytes_total", "Bytes written to volumes."), prometheus.CounterValue, func(m store.Metrics) uint64 { return m.WrittenBytes }},
	{desc("engine_flushes_total", "Flushes to stable storage."), prometheus.CounterValue, func(m store.Metrics) uint64 { return m.Flushes }},
	{desc("engine_compactions_total", "Collections of garbage."), prometheus.CounterValue, func(m store.Metrics) uint64 { return m.Compactions }},
}

// Times that writes of all volumes stood still, for changes of volumes and of the catalog.
var (
	engineHolds   = desc("engine_holds_total", "Changes of volumes and of the catalog for which writes stood still.")
	engineHeld    = desc("engine_held_seconds_total", "Time that writes stood still for such changes.")
	engineLongest = desc("engine_longest_hold_seconds", "Longest such time since start.")
)

var engineExtra = desc("engine_extra", "Figures of the particular engine.", "figure")

// Describe implements prometheus.Collector; metrics are named as they come.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	m := c.engine()
	for _, f := range engineFigures {
		emit(out, f.desc, f.kind, f.value(m))
	}
	emit(out, engineHolds, prometheus.CounterValue, m.Holds)
	out <- figure(prometheus.NewConstMetric(engineHeld, prometheus.CounterValue, m.Held.Seconds()))
	out <- figure(prometheus.NewConstMetric(engineLongest, prometheus.GaugeValue, m.LongestHold.Seconds()))
	for name, v := range m.Extra {
		out <- figure(prometheus.NewConstMetric(engineExtra, prometheus.GaugeValue, v, label(name)))
	}
	volumes := c.volumes()
	emit(out, luAttached, prometheus.GaugeValue, uint64(len(volumes)))
	slices.SortFunc(volumes, func(a, b pe.VolumeStats) int { return bytes.Compare(a.Volume[:], b.Volume[:]) })
	for _, v := range volumes[:min(len(volumes), maxVolumesShown)] {
		for _, o := range v.Ops {
			collectOp(out, o, v.Volume.String(), v.Name, o.OpCode.String())
		}
	}
	sessions := c.sessions()
	emit(out, sessionsOpen, prometheus.GaugeValue, uint64(len(sessions)))
	slices.SortFunc(sessions, func(a, b iscsi.SessionInfo) int { return cmp.Compare(a.ID, b.ID) })
	for _, s := range sessions[:min(len(sessions), maxSessionsShown)] {
		labels := []string{fmt.Sprint(s.ID), s.Initiator, s.Portal}
		emit(out, sessionCommands, prometheus.CounterValue, s.Commands, labels...)
		emit(out, sessionErrors, prometheus.CounterValue, s.Errors, labels...)
		emitHistogram(out, sessionLatency, &s.Latency, labels...)
		emit(out, sessionBytes, prometheus.CounterValue, s.BytesIn, append(labels, "in")...)
		emit(out, sessionBytes, prometheus.CounterValue, s.BytesOut, append(labels, "out")...)
		emit(out, sessionInFlight, prometheus.GaugeValue, uint64(s.InFlight), labels...)
	}
}

func collectOp(out chan<- prometheus.Metric, o pe.OpStats, labels ...string) {
	counter := func(d *prometheus.Desc, v uint64, more ...string) {
		emit(out, d, prometheus.CounterValue, v, append(labels[:len(labels):len(labels)], more...)...)
	}
	counter(luCommands, o.Count)
	counter(luErrors, o.Errors)
	counter(luBytes, o.BytesIn, "in")
	counter(luBytes, o.BytesOut, "out")
	emitHistogram(out, luLatency, &o.Latency, labels...)
}

func emitHistogram(out chan<- prometheus.Metric, d *prometheus.Desc, c *latency.Counts, labels ...string) {
	buckets := make(map[float64]uint64, latency.Buckets)
	var sum uint64
	for i, n := range c.Buckets {
		sum += n
		if bound, ok := latency.Bound(i); ok {
			buckets[bound.Seconds()] = sum
		}
	}
	out <- figure(prometheus.NewConstHistogram(d, sum, c.Total.Seconds(), buckets, clean(labels)...))
}

func emit(out chan<- prometheus.Metric, d *prometheus.Desc, kind prometheus.ValueType, v uint64, labels ...string) {
	out <- figure(prometheus.NewConstMetric(d, kind, float64(v), clean(labels)...))
}

// figure passes a metric on, or its fault: a scrape never ends the process.
func figure(m prometheus.Metric, err error) prometheus.Metric {
	if err != nil {
		return prometheus.NewInvalidMetric(engineExtra, err)
	}
	return m
}

// label makes text of what initiators call themselves: any bytes may come, and a
// label is UTF-8.
func label(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func clean(labels []string) []string {
	out := make([]string, len(labels))
	for i, l := range labels {
		out[i] = label(l)
	}
	return out
}
