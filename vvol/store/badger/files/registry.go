package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	bdb "github.com/dgraph-io/badger/v4"
)

// The registry of keys of a database that is not encrypted is a random block of AES and this text
// (key_registry.go, v4.9.6). Of one that is damaged Badger says that the key is another.
const (
	registryBlock = 16
	registryText  = "Hello Badger"
)

// checkRegistry looks at the registry of keys in dir; Badger makes one where there is none.
func checkRegistry(dir string) error {
	name := filepath.Join(dir, bdb.KeyRegistryFileName)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(b) != registryBlock+len(registryText) || string(b[registryBlock:]) != registryText {
		return fmt.Errorf("%w: %s is not the registry of a database without keys; none is needed, and a new one made when it is away", ErrDamaged, name)
	}
	return nil
}
