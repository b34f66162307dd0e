package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Client talks to the API of an array. Safe for concurrent use.
type Client struct {
	Base  string // URL without a path
	Token string
	HTTP  *http.Client
}

// Error is a problem that the API answered (RFC 9457).
type Error struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"-"` // of the answer
	Detail string `json:"detail"`
}

func (e *Error) Error() string {
	if e.Detail != "" {
		return e.Detail
	}
	return e.Title
}

// NotFound tells whether an error means that something does not exist.
func NotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// Invalid tells whether an error means that the request asked for something that
// cannot be.
func Invalid(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Status == http.StatusBadRequest || e.Status == http.StatusUnprocessableEntity)
}

// maxResponse bounds what the client reads of one answer.
const maxResponse = 256 << 20

// Do sends one request and returns the body of a successful answer. body, unless
// nil, is sent as JSON.
func (c *Client) Do(ctx context.Context, method, path string, body any) ([]byte, error) {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(b)
	}
	resp, err := c.Open(ctx, method, path, payload, "application/json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	if err == nil && len(b) > maxResponse {
		err = fmt.Errorf("the answer is larger than %d bytes", maxResponse)
	}
	return b, err
}

// Open sends one request and returns the answer, whose body the caller closes; a
// problem is an *Error.
func (c *Client) Open(ctx context.Context, method, path string, body io.Reader, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Base, "/")+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the array does not answer: %w", err)
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	e := &Error{Status: resp.StatusCode, Title: resp.Status}
	if b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody)); err == nil {
		_ = json.Unmarshal(b, e) // another server's error page has no detail
	}
	return nil, e
}

// Figures reads /metrics: gauges and counters that have no labels, by name.
func (c *Client) Figures(ctx context.Context) (map[string]float64, error) {
	resp, err := c.Open(ctx, http.MethodGet, "/metrics", nil, "text/plain")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	all := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.ContainsAny(name, "#{") {
			continue
		}
		if all[name], err = strconv.ParseFloat(value, 64); err != nil {
			return nil, fmt.Errorf("/metrics: %s: %w", name, err)
		}
	}
	return all, lines.Err()
}
