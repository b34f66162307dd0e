package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"vvsim/array"
)

// shutdownTimeout bounds the clean end; commands that hang longer are cut off.
const shutdownTimeout = time.Minute

// gcPercent is how much the heap may grow between two collections, in percent of what was
// in use, where the environment's GOGC does not say: at 100 the memory under load is twice
// what is in use, most of which are buffers of the database that come and go.
const gcPercent = 50

// serveFlags maps flags to configuration keys.
var serveFlags = []serveFlag{
	{"data", "data", "directory of the engine, or :memory: which keeps nothing (default vvsim-data)"},
	{"vasa", "vasa.addr", "address of the VASA provider (default 127.0.0.1:8443)"},
	{"api", "api.addr", "address of the control API (default 127.0.0.1:8474)"},
	{"log-level", "log.level", "debug, info, warn or error (default info)"},
	{"log-format", "log.format", "console, json or auto (default auto)"},
	{"env-file", "env_file", "file to write with export lines when ready"},
}

// serveFlag is a flag of serve, the key it sets, and its help.
type serveFlag struct{ flag, key, usage string }

// short is the one-letter form, where there is one.
func (f serveFlag) short() string {
	if f.flag == "env-file" {
		return "E"
	}
	return ""
}

func newServe() *cobra.Command {
	var config string
	c := &cobra.Command{Use: "serve", Short: "Start an array", Args: usageArgs(cobra.NoArgs),
		Long: "Start an array. Every flag is also a key of the YAML file given by --config and an environment variable\n" +
			"(VVSIM_DATA, VVSIM_ISCSI, VVSIM_API, …); a flag beats the variable, which beats the file."}
	for _, f := range serveFlags {
		c.Flags().StringP(f.flag, f.short(), "", f.usage)
	}
	c.Flags().StringVar(&config, "config", os.Getenv("VVSIM_CONFIG"), "YAML file")
	c.Flags().StringArray("iscsi", nil, "iSCSI portal, repeatable; portal i is target portal group i (default 127.0.0.1:3260)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := array.LoadConfig(config, os.Environ(), givenFlags(c))
		if err != nil {
			return err
		}
		return serve(c.Context(), cfg, c.OutOrStdout())
	}
	return c
}

// givenFlags are the flags that stand on the command line, by configuration key.
func givenFlags(c *cobra.Command) map[string]string {
	given := map[string]string{}
	for _, s := range serveFlags {
		if c.Flags().Changed(s.flag) {
			given[s.key] = c.Flag(s.flag).Value.String()
		}
	}
	if portals, err := c.Flags().GetStringArray("iscsi"); err == nil && c.Flags().Changed("iscsi") {
		given["iscsi.portals"] = strings.Join(portals, ",")
	}
	return given
}

// serve runs an array until a signal or a failure; a second signal ends at once.
func serve(ctx context.Context, cfg array.Config, stdout io.Writer) error {
	log, err := newLogger(cfg.Log)
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	for _, name := range array.UnknownVariables(os.Environ()) {
		log.Warn("unknown variable", zap.String("name", name))
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	a, err := array.Open(ctx, cfg, version, log)
	if err != nil {
		return err
	}
	closeArray := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		return a.Close(ctx)
	}
	if err := a.Start(context.WithoutCancel(ctx)); err != nil {
		return errors.Join(err, closeArray())
	}
	ready := a.Ready()
	if cfg.EnvFile != "" {
		if err := writeEnv(cfg.EnvFile, ready); err != nil {
			return errors.Join(err, closeArray())
		}
	}
	fmt.Fprintf(stdout, "vvsim ready in %.2fs iscsi=%s vasa=%s api=%s\n", ready.Took.Seconds(), strings.Join(ready.ISCSI, ","), ready.VASA.URL, ready.API)
	failed := make(chan error, 1)
	go func() { failed <- a.Wait() }()
	select {
	case <-ctx.Done():
		stop() // the next signal has its default effect
		log.Info("stopping")
		return closeArray()
	case err := <-failed:
		return errors.Join(err, closeArray())
	}
}

// newLogger writes to standard error. c has been validated.
func newLogger(c array.LogConfig) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		return nil, fmt.Errorf("%w: log.level: %w", array.ErrConfig, err)
	}
	encoder := zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig())
	if c.Format == "json" || c.Format == "auto" && !term.IsTerminal(int(os.Stderr.Fd())) {
		e := zap.NewProductionEncoderConfig()
		e.EncodeTime = zapcore.RFC3339NanoTimeEncoder
		encoder = zapcore.NewJSONEncoder(e)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(os.Stderr), level)), nil
}

// quoted is a value as a shell reads it; plain ones stay as they are.
func quoted(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.,:/@%+=[]", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// writeEnv writes the env file in one step. It stays after the end: what it names
// is then not there, which its readers find out by VVSIM_PID.
func writeEnv(path string, r array.ReadyInfo) error {
	ca := r.VASA.CAFile
	if ca == "" { // an array in memory has no file of its own
		ca = path + ".ca.pem"
		if err := os.WriteFile(ca, r.VASA.CA, 0o600); err != nil {
			return fmt.Errorf("env file: %w", err)
		}
	}
	ca, err := filepath.Abs(ca)
	if err != nil {
		return fmt.Errorf("env file: %w", err)
	}
	var b strings.Builder
	for _, kv := range [][2]string{{"VVSIM_PID", fmt.Sprint(os.Getpid())}, {"VVSIM_API", r.API},
		{"VVSIM_ISCSI", strings.Join(r.ISCSI, ",")}, {"VVSIM_IQN", r.IQN}, {"VVSIM_VASA_URL", r.VASA.URL},
		{"VVSIM_VASA_USER", r.VASA.User}, {"VVSIM_VASA_PASSWORD", r.VASA.Password}, {"VVSIM_CA", ca}} {
		fmt.Fprintf(&b, "export %s=%s\n", kv[0], quoted(kv[1]))
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".vvsim-env-*")
	if err != nil {
		return fmt.Errorf("env file: %w", err)
	}
	_, err = tmp.WriteString(b.String())
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("env file: %w", err), os.Remove(tmp.Name()))
	}
	return nil
}
