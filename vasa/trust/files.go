package trust

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Files of the store.
const (
	fileAuthority = "authority.pem"
	fileCA        = "ca.pem"
	fileServer    = "server.pem"
	filePending   = "pending.pem"
	fileClients   = "clients"
	filePassword  = "vasa-password"

	temporary = ".tmp-"
)

// disk is the directory of a store; "" keeps nothing.
type disk string

func (d disk) path(name string) string { return filepath.Join(string(d), name) }

// prepare makes the directory private and removes what a crash left half written.
func (d disk) prepare() error {
	if d == "" {
		return nil
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	if err := private(string(d), 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) {
			if err := os.Remove(d.path(e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// private takes away what others may do with a file or directory.
func private(path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&^mode == 0 {
		return nil
	}
	return os.Chmod(path, mode)
}

// read returns the content of a file, nil if there is none.
func (d disk) read(name string) ([]byte, error) {
	if d == "" {
		return nil, nil
	}
	path := d.path(name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, d.damaged(name, errors.New("it is no regular file"))
	}
	if err := private(path, 0o600); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, d.damaged(name, fmt.Errorf("it is larger than %d bytes", maxFile))
	}
	if len(data) == 0 {
		return nil, d.damaged(name, errors.New("it is empty"))
	}
	return data, nil
}

// write replaces a file: after a crash it is the old one or the new one.
func (d disk) write(name string, data []byte) error {
	if d == "" {
		return nil
	}
	f, err := os.CreateTemp(string(d), temporary+name+"-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing there after the rename
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), d.path(name)); err != nil {
		return err
	}
	return d.sync()
}

func (d disk) remove(name string) error {
	if d == "" {
		return nil
	}
	if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.sync()
}

func (d disk) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// damaged tells which file cannot be used, and what removing it would mean.
func (d disk) damaged(name string, reason error) error {
	remedy := map[string]string{
		fileAuthority: "restore it, or remove all files of this directory to start with new keys and no registered clients",
		fileCA:        "restore or remove it: it is written from " + fileAuthority,
		fileServer:    "restore it, or remove it to have a certificate of the own CA",
		filePending:   "remove it to forget certificate signing requests that are not answered",
		fileClients:   "restore it, or remove it to forget all registered clients",
		filePassword:  "restore it, or remove it to have a new password",
	}[name]
	return &DamagedError{Path: d.path(name), Reason: reason.Error(), Remedy: remedy}
}
