// Command envsubst answers with the output of github.com/fluxcd/pkg/envsubst for a text.
package main

import (
	"encoding/base64"
	"fmt"

	"github.com/fluxcd/pkg/envsubst"

	"flux.local/oracle/serve"
)

type request struct {
	Input     string            `json:"input"`
	Variables map[string]string `json:"variables"`
	Strict    bool              `json:"strict"`
}

func main() {
	serve.Run(serve.Modes{"eval": serve.Typed(eval)})
}

func eval(r request) (any, error) {
	text, err := base64.StdEncoding.DecodeString(r.Input)
	if err != nil {
		return nil, err
	}
	out, err := envsubst.Eval(string(text), func(name string) (string, bool) {
		value, ok := r.Variables[name]
		if r.Strict && !ok {
			return "", false
		}
		return value, true
	})
	if err != nil {
		return nil, fmt.Errorf("%w", err)
	}
	return base64.StdEncoding.EncodeToString([]byte(out)), nil
}
