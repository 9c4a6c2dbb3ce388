package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"time"

	yaml3 "go.yaml.in/yaml/v3"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/yaml"
)

// speedRequest asks for the time that documents take, each once per round.
type speedRequest struct {
	Documents []string `json:"documents"`
	Rounds    int      `json:"rounds"`
}

// speed returns the nanoseconds of the fastest round of reading and of writing, for each library.
func speed(r speedRequest) (any, error) {
	fastest := map[string]int64{}
	for _, text := range r.Documents {
		document, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, err
		}
		var value any
		var nodes []*yaml3.Node
		steps := map[string]func() error{
			"sigs-read": func() error { value = nil; return yaml.Unmarshal(document, &value) },
			"v3-read":   func() (err error) { nodes, err = decodeAll(document); return err },
		}
		writes := map[string]func() error{
			"sigs-write": func() error { _, err := yaml.Marshal(value); return err },
			"v3-write": func() error {
				var out bytes.Buffer
				encoder := kyaml.NewEncoder(&out)
				for _, node := range nodes {
					if err := encoder.Encode(node); err != nil {
						return err
					}
				}
				return encoder.Close()
			},
		}
		for _, steps := range []map[string]func() error{steps, writes} {
			for name, step := range steps {
				least := int64(-1)
				for range r.Rounds {
					began := time.Now()
					if err := step(); err != nil {
						return nil, fmt.Errorf("%s: %w", name, err)
					}
					if took := time.Since(began).Nanoseconds(); least < 0 || took < least {
						least = took
					}
				}
				fastest[name] += least
			}
		}
	}
	return fastest, nil
}
