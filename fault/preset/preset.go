package preset

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"vvsim/fault/codes"
)

// Parameter is what a preset may be about.
type Parameter string

const (
	VVol      Parameter = "vvol"      // id or name
	Container Parameter = "container" // id or name
	Host      Parameter = "host"      // initiator name
	Portal    Parameter = "portal"    // from 1
	PE        Parameter = "pe"        // id or name of a protocol endpoint
)

// parameters in the order in which they are named.
var parameters = []Parameter{VVol, Container, Host, Portal, PE}

// ErrParameters are parameters that a preset does not take, or that it lacks.
var ErrParameters = errors.New("wrong parameters")

// Preset is a failure with a name.
type Preset struct {
	Name  string
	Title string // what fails
	Needs []Parameter
	Ways  []Way // to bring it about; the first unless another is asked for
	// Expect is what an ESXi host logs and does, whichever the way; those of a way come after it.
	Expect []Statement
	Heals  string // what follows when the rules are removed
}

// Way is how a preset is brought about.
type Way struct {
	Name string // "" where there is one way
	// Rules have parameters in braces: {host} stands for host=IQN or for nothing, {portal|1}
	// for portal=1 when no other is asked for.
	Rules  []string
	Expect []Statement
}

// Statement is something that hosts do, and how certain that is.
type Statement struct {
	Text      string
	Certainty []codes.Certainty
}

func does(text string, c ...codes.Certainty) Statement { return Statement{text, c} }

// String is the statement with its certainty in brackets.
func (s Statement) String() string {
	words := make([]string, len(s.Certainty))
	for i, c := range s.Certainty {
		words[i] = string(c)
	}
	return s.Text + " [" + strings.Join(words, ", ") + "]"
}

// placeholder is a parameter in a rule, with its default.
var placeholder = regexp.MustCompile(`\{(\w+)(?:\|(\w+))?\} `)

// Takes lists the parameters that some way of the preset has a place for.
func (p *Preset) Takes() (all []Parameter) {
	for _, name := range parameters {
		if slices.ContainsFunc(p.Ways, func(w Way) bool { return w.takes(name) }) {
			all = append(all, name)
		}
	}
	return all
}

// Takes lists the parameters that the way has a place for.
func (w *Way) Takes() []Parameter {
	return slices.DeleteFunc(slices.Clone(parameters), func(name Parameter) bool { return !w.takes(name) })
}

func (w *Way) takes(name Parameter) bool {
	return slices.ContainsFunc(w.Rules, func(r string) bool {
		return strings.Contains(r, "{"+string(name)+"}") || strings.Contains(r, "{"+string(name)+"|")
	})
}

// Way finds a way by its name, the first for "".
func (p *Preset) Way(name string) (*Way, error) {
	var names []string
	for i := range p.Ways {
		if w := &p.Ways[i]; name == "" || w.Name == name {
			return w, nil
		}
		names = append(names, p.Ways[i].Name)
	}
	if names[0] == "" {
		return nil, fmt.Errorf("%w: %s has one way only", ErrParameters, p.Name)
	}
	return nil, fmt.Errorf("%w: %q is no way of %s, but %s", ErrParameters, name, p.Name, strings.Join(names, ", "))
}

// Fill returns the rules of a way with the parameters put in. The error is ErrParameters.
func (p *Preset) Fill(w *Way, values map[Parameter]string) ([]string, error) {
	for _, name := range parameters {
		switch value := values[name]; {
		case value != "" && !w.takes(name):
			return nil, fmt.Errorf("%w: %s takes no %s%s", ErrParameters, p.Name, name, p.instead(w))
		case value == "" && slices.Contains(p.Needs, name):
			return nil, fmt.Errorf("%w: %s needs %s", ErrParameters, p.Name, name)
		}
	}
	rules := make([]string, len(w.Rules))
	for i, r := range w.Rules {
		rules[i] = placeholder.ReplaceAllStringFunc(r, func(text string) string {
			m := placeholder.FindStringSubmatch(text)
			value := values[Parameter(m[1])]
			if value == "" {
				value = m[2]
			}
			if value == "" {
				return ""
			}
			return m[1] + "=" + quoted(value) + " "
		})
	}
	return rules, nil
}

// instead is what a way takes, for errors.
func (p *Preset) instead(w *Way) string {
	var names []string
	for _, name := range w.Takes() {
		names = append(names, string(name))
	}
	of := ""
	if w.Name != "" {
		of = " with way " + w.Name
	}
	if len(names) == 0 {
		return of + ", nor anything else"
	}
	return of + ", but " + strings.Join(names, " and ")
}

// quoted is a value as rules have it.
func quoted(v string) string {
	if strings.ContainsAny(v, " \t\"\\") {
		return strconv.Quote(v)
	}
	return v
}

// Find returns a preset by its name.
func Find(name string) (Preset, bool) {
	for _, p := range Table() {
		if p.Name == name {
			return p, true
		}
	}
	return Preset{}, false
}
