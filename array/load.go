package array

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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

// LoadConfig reads the file at path (none when empty), then variables of environ
// ("K=V"), then flags (by key path, as text; lists are comma separated), each
// over what came before, and validates the result. Errors are ErrConfig and name
// the file and line, the variable or the key.
func LoadConfig(path string, environ []string, flags map[string]string) (Config, error) {
	c := DefaultConfig()
	if path != "" {
		if err := c.loadFile(path); err != nil {
			return Config{}, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	keys := configKeys()
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		key := variableKey(name, keys)
		if key == "" {
			continue
		}
		if err := c.set(key, value); err != nil {
			return Config{}, fmt.Errorf("%w: variable %s: %w", ErrConfig, name, err)
		}
	}
	for key, value := range flags {
		if !slices.Contains(keys, key) {
			return Config{}, fmt.Errorf("%w: unknown key %s", ErrConfig, key)
		}
		if err := c.set(key, value); err != nil {
			return Config{}, fmt.Errorf("%w: %s: %w", ErrConfig, key, err)
		}
	}
	return c, c.Validate()
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
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %s", path, plainYAMLError(err))
	}
	return nil
}

var unknownField = regexp.MustCompile(`field (\S+) not found in type \S+`)

// plainYAMLError makes one line without Go types of a decoder's error.
func plainYAMLError(err error) string {
	s := strings.TrimPrefix(err.Error(), "yaml: ")
	s = strings.TrimPrefix(s, "unmarshal errors:\n")
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return unknownField.ReplaceAllString(s, "unknown key $1")
}

// configKeys lists the paths of all scalar and string-list keys.
func configKeys() []string {
	var keys []string
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch {
		case t.Kind() == reflect.Struct:
			for i := range t.NumField() {
				tag := t.Field(i).Tag.Get("yaml")
				walk(t.Field(i).Type, strings.TrimPrefix(path+"."+tag, "."))
			}
		case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
			// lists of objects are for the file alone
		default:
			keys = append(keys, path)
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return keys
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
// way to be read.
func (c *Config) set(key, value string) error {
	if key == "api.addr" || key == "vasa.addr" {
		// An env file sets VVSIM_API to a URL for clients; as an address it means the same.
		value = strings.TrimPrefix(strings.TrimPrefix(value, "http://"), "https://")
	}
	node := &yaml.Node{Kind: yaml.ScalarNode, Value: value}
	if key == "iscsi.portals" {
		node = &yaml.Node{Kind: yaml.SequenceNode}
		for _, v := range strings.Split(value, ",") {
			node.Content = append(node.Content, text(strings.TrimSpace(v)))
		}
	}
	parts := strings.Split(key, ".")
	for _, p := range slices.Backward(parts) {
		node = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{text(p), node}}
	}
	if err := node.Decode(c); err != nil {
		return fmt.Errorf("%q: %s", value, plainYAMLError(err))
	}
	return nil
}

func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}
