package alarm

import "time"

// Status is how bad something is, spelled as VASA spells it.
type Status string

const (
	Green  Status = "Green"
	Yellow Status = "Yellow"
	Red    Status = "Red"
)

// FullPercent is from how much of its size on a container counts as full. Hysteresis is
// how many percent below a threshold its alarm goes.
const (
	FullPercent = 98
	Hysteresis  = 2
)

// Level is the status of something that is full to used of size, and was so before. From
// warn percent on it is Yellow; 0 is no warning.
func Level(before Status, used, size uint64, warn int) Status {
	reached := func(percent int, held bool) bool {
		if held {
			percent -= Hysteresis
		}
		return size > 0 && float64(used)*100 >= float64(percent)*float64(size)
	}
	switch {
	case reached(FullPercent, before == Red):
		return Red
	case warn > 0 && reached(warn, before == Yellow || before == Red):
		return Yellow
	}
	return Green
}

// Alarm is one thing that is not Green.
type Alarm struct {
	Kind    string    `json:"kind"`   // "container.threshold", "vvol.compliance"
	Object  string    `json:"object"` // its id
	Status  Status    `json:"status"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"` // of the status
}

// Key names what an alarm is about.
type Key struct{ Kind, Object string }

// Board holds the alarms. The zero value has none. Not safe for concurrent use.
type Board struct{ alarms map[Key]Alarm }

// Status of something; Green when there is no alarm.
func (b *Board) Status(k Key) Status {
	if a, ok := b.alarms[k]; ok {
		return a.Status
	}
	return Green
}

// Changes tells whether Set of this status would change it.
func (b *Board) Changes(k Key, s Status) bool { return b.Status(k) != s }

// Set notes the status of something now. An alarm that has the status keeps its time, with
// the new message.
func (b *Board) Set(k Key, s Status, message string, now time.Time) {
	old, had := b.alarms[k]
	switch {
	case s == Green:
		delete(b.alarms, k)
		return
	case had && old.Status == s:
		now = old.Since
	}
	if b.alarms == nil {
		b.alarms = map[Key]Alarm{}
	}
	b.alarms[k] = Alarm{k.Kind, k.Object, s, message, now}
}

// Count is how many alarms of a kind there are.
func (b *Board) Count(kind string) (n int) {
	for k := range b.alarms {
		if k.Kind == kind {
			n++
		}
	}
	return n
}

// All lists the alarms, in no order.
func (b *Board) All() []Alarm {
	all := make([]Alarm, 0, len(b.alarms))
	for _, a := range b.alarms {
		all = append(all, a)
	}
	return all
}
