package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Seal ends the newest value log before Badger opens: at its last byte of data, with an
// empty log behind it. Badger would look through the newest for the first entry whose
// checksum does not hold, and cut it off there, with all the healthy ones that follow; the
// empty log it removes when it opens the next time. What a crash leaves unfinished
// at the end of a log does no harm, as nothing leads to it.
func (d *Directory) Seal() error {
	n, err := d.values.newest()
	if n == 0 || err != nil {
		return err
	}
	f, err := os.OpenFile(d.values.name(n), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	end, err := cutHole(f)
	if err = errors.Join(err, f.Close()); err != nil || end <= LogHeader {
		return err
	}
	return os.WriteFile(d.values.name(n+1), make([]byte, LogHeader), 0o600)
}

// cutHole cuts off what follows the last data of a log, and returns its size.
func cutHole(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	end := int64(0)
	for end < info.Size() {
		from, err := unix.Seek(int(f.Fd()), end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err == nil {
			end, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
		}
		if err != nil {
			return 0, &fs.PathError{Op: "lseek", Path: f.Name(), Err: err}
		}
	}
	none, err := zeros(io.NewSectionReader(f, LogHeader, end-LogHeader))
	if err != nil {
		return 0, err
	}
	if none {
		end = LogHeader // there is no entry: the kernel has read ahead, or the pages were never written
	}
	if end < LogHeader || end >= info.Size() {
		return info.Size(), nil
	}
	return end, f.Truncate(end)
}

// zeros tells whether there is nothing else to read.
func zeros(r io.Reader) (bool, error) {
	for b := make([]byte, 64<<10); ; {
		n, err := r.Read(b)
		if slices.ContainsFunc(b[:n], func(b byte) bool { return b != 0 }) {
			return false, nil
		}
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}
