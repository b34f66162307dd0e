package array

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxConfigFile bounds a configuration file in bytes.
const maxConfigFile = 1 << 20

// shortVariables are the environment names of the flags that differ from the
// name made of the key's path.
var shortVariables = map[string]string{
	"VVSIM_ISCSI": "iscsi.portals", "VVSIM_VASA": "vasa.addr", "VVSIM_API": "api.addr",
	"VVSIM_TOKEN": "api.token", "VVSIM_LOG_LEVEL": "log.level",
}

// layer is one source of settings above the file: values as text by key, and what
// an error calls them.
type layer map[string]setting

type setting struct{ name, value string }

// LoadConfig reads the file at path (none when empty), then variables of environ
// ("K=V"; an empty value counts as not set), then flags (by key path, as text;
// lists are comma separated), each over what came before, and validates the
// result. Errors are ErrConfig and name the file and line, the variable or the key.
func LoadConfig(path string, environ []string, flags map[string]string) (Config, error) {
	c := DefaultConfig()
	err := func() error {
		if path != "" {
			if err := c.loadFile(path); err != nil {
				return err
			}
		}
		variables, err := variablesOf(environ)
		if err != nil {
			return err
		}
		given := layer{}
		for key, value := range flags {
			given[key] = setting{key, value}
		}
		if err := c.apply(variables); err != nil {
			return err
		}
		return c.apply(given)
	}()
	if err != nil {
		return Config{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// foreignVariables begin with VVSIM_ and are no keys: those of the env file and of
// the command line. VVSIM_VASA_USER and VVSIM_VASA_PASSWORD of the env file are keys too.
var foreignVariables = []string{"VVSIM_CONFIG", "VVSIM_PID", "VVSIM_IQN", "VVSIM_VASA_URL",
	"VVSIM_CA", "VVSIM_ISCSI_MUTUAL_SECRET"}

// UnknownVariables lists variables of environ whose name begins with VVSIM_ but
// that mean nothing, as misspelt ones do.
func UnknownVariables(environ []string) (unknown []string) {
	keys := configKeys()
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "VVSIM_") && variableKey(name, keys) == "" && !slices.Contains(foreignVariables, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

func variablesOf(environ []string) (layer, error) {
	l, keys := layer{}, configKeys()
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		key := variableKey(name, keys)
		if key == "" || value == "" {
			continue
		}
		if other, ok := l[key]; ok && other.value != value {
			return nil, fmt.Errorf("variables %s and %s differ and mean the same key %s", min(other.name, name), max(other.name, name), key)
		}
		l[key] = setting{"variable " + name, value}
	}
	return l, nil
}

// apply puts a layer over c.
func (c *Config) apply(l layer) error {
	c.replaceSecrets(l)
	for _, key := range slices.Sorted(maps.Keys(l)) {
		if !slices.Contains(configKeys(), key) {
			return fmt.Errorf("unknown key %s", key)
		}
		if err := c.set(key, l[key].value); err != nil {
			return fmt.Errorf("%s: %w", l[key].name, err)
		}
	}
	return nil
}

// replaceSecrets lets a secret of a higher layer replace the secret file of a
// lower one, and the other way round.
func (c *Config) replaceSecrets(l layer) {
	for path, h := range map[string]*CHAP{"iscsi.chap": c.ISCSI.CHAP, "iscsi.discovery_chap": c.ISCSI.DiscoveryCHAP} {
		if h == nil {
			continue
		}
		if _, ok := l[path+".secret"]; ok {
			h.SecretFile = ""
		}
		if _, ok := l[path+".secret_file"]; ok {
			h.Secret = ""
		}
	}
}

func (c *Config) loadFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return err
	}
	if len(b) > maxConfigFile {
		return fmt.Errorf("%s: larger than %d bytes", path, maxConfigFile)
	}
	if err := c.decode(b); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// decode reads one YAML document over c. The error is one line that names the
// line and, where it is known, the key.
func (c *Config) decode(b []byte) error {
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	err := d.Decode(c)
	if errors.Is(err, io.EOF) {
		return nil // an empty file
	}
	if err != nil {
		var n yaml.Node
		if yaml.Unmarshal(b, &n) == nil {
			if unknown := unknownKey(&n, reflect.TypeFor[Config](), ""); unknown != "" {
				return errors.New(unknown)
			}
		}
		return errors.New(plainYAMLError(err))
	}
	if !errors.Is(d.Decode(&yaml.Node{}), io.EOF) {
		return errors.New("more than one document")
	}
	return nil
}

// unknownKey tells line and path of the first key below n that t does not have.
func unknownKey(n *yaml.Node, t reflect.Type, path string) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case n.Kind == yaml.DocumentNode && len(n.Content) > 0:
		return unknownKey(n.Content[0], t, path)
	case n.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice:
		for i, item := range n.Content {
			if unknown := unknownKey(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i)); unknown != "" {
				return unknown
			}
		}
	case n.Kind == yaml.MappingNode && t.Kind() == reflect.Struct:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			at := strings.TrimPrefix(path+"."+key.Value, ".")
			field, ok := fieldOf(t, key.Value)
			if !ok && key.Value != "<<" { // a merge of another mapping
				return fmt.Sprintf("line %d: unknown key %s", key.Line, at)
			}
			if ok {
				if unknown := unknownKey(n.Content[i+1], field.Type, at); unknown != "" {
					return unknown
				}
			}
		}
	}
	return ""
}

func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("yaml") == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

var (
	unknownField = regexp.MustCompile(`field (\S+) not found in type \S+`)
	goType       = regexp.MustCompile(` into \S+$`)
)

// plainYAMLError makes one line without Go types of a decoder's error.
func plainYAMLError(err error) string {
	s := strings.TrimPrefix(err.Error(), "yaml: ")
	s = strings.TrimPrefix(s, "unmarshal errors:\n")
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	s = unknownField.ReplaceAllString(s, "unknown key $1")
	return goType.ReplaceAllStringFunc(s, func(t string) string {
		kinds := map[string]string{" into []string": "a list", " into bool": "true or false", " into int": "a number", " into uint16": "a number from 0 to 65535",
			" into string": "text"}
		if kind, ok := kinds[t]; ok {
			return " where " + kind + " is wanted"
		}
		return " here"
	})
}

// configKeys lists the paths of all keys but those inside lists.
func configKeys() []string {
	var keys []string
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			keys = append(keys, path)
			return
		}
		for i := range t.NumField() {
			walk(t.Field(i).Type, strings.TrimPrefix(path+"."+t.Field(i).Tag.Get("yaml"), "."))
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return keys
}

// typeOf is the type of a key's value.
func typeOf(key string) reflect.Type {
	t := reflect.TypeFor[Config]()
	for part := range strings.SplitSeq(key, ".") {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		f, ok := fieldOf(t, part)
		if !ok {
			return nil
		}
		t = f.Type
	}
	return t
}

// variableKey returns the key that an environment variable sets, or "".
func variableKey(name string, keys []string) string {
	if !strings.HasPrefix(name, "VVSIM_") {
		return ""
	}
	if key, ok := shortVariables[name]; ok {
		return key
	}
	for _, k := range keys {
		if name == "VVSIM_"+strings.ToUpper(strings.ReplaceAll(k, ".", "_")) {
			return k
		}
	}
	return ""
}

// set puts a value given as text at a key, by way of YAML so that a type has one
// way to be read. A list of names is separated by commas; a list of objects is
// written as YAML, such as [{name: pe0, lun: 256}].
func (c *Config) set(key, value string) error {
	if key == "api.addr" || key == "vasa.addr" {
		// An env file sets VVSIM_API to a URL for clients; as an address it means the same.
		value = strings.TrimPrefix(strings.TrimPrefix(value, "http://"), "https://")
	}
	node := text(value)
	switch t := typeOf(key); {
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		node = &yaml.Node{Kind: yaml.SequenceNode}
		for v := range strings.SplitSeq(value, ",") {
			node.Content = append(node.Content, text(strings.TrimSpace(v)))
		}
	case t.Kind() == reflect.Slice:
		var parsed yaml.Node
		if err := yaml.Unmarshal([]byte(value), &parsed); err != nil || len(parsed.Content) != 1 {
			return fmt.Errorf("%q is no list in YAML", value)
		}
		node = parsed.Content[0]
	case t.Kind() != reflect.String:
		node.Tag = "" // a number, a truth value or a duration
	}
	for _, p := range slices.Backward(strings.Split(key, ".")) {
		node = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{text(p), node}}
	}
	b, err := yaml.Marshal(node)
	if err != nil {
		return err
	}
	if err := c.decode(b); err != nil {
		return fmt.Errorf("%s", linePrefix.ReplaceAllString(err.Error(), ""))
	}
	return nil
}

var linePrefix = regexp.MustCompile(`^line \d+: `)

func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}
