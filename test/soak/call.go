package soak

import (
	"context"
	"encoding/json"
	"fmt"
)

// call sends one request to the API and decodes the answer, if there is one.
func call[T any](ctx context.Context, s *Soak, method, path string, body any) (v T, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	b, err := s.a.API.Do(ctx, method, "/api/v1"+path, body)
	if err != nil {
		return v, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if len(b) > 0 {
		err = json.Unmarshal(b, &v)
	}
	return v, err
}
