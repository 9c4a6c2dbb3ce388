// Command helm-digests answers with the digests that helm-controller records of a release.
package main

import (
	"encoding/json"
	"slices"

	"github.com/fluxcd/pkg/chartutil"
	"github.com/opencontainers/go-digest"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	release "helm.sh/helm/v4/pkg/release/v1"

	"flux.local/oracle/serve"
)

func main() {
	serve.Run(serve.Modes{"digests": serve.Typed(digests)})
}

type request struct {
	// A record's JSON, as in Helm's storage.
	Record    string `json:"record"`
	OCIDigest string `json:"ociDigest"`
}

// seen has the fields of a record that enter the digest, under the names that helm-controller uses.
type seen struct {
	Name      string         `json:"name"`
	Version   int            `json:"version"`
	Info      release.Info   `json:"info"`
	Chart     chart.Metadata `json:"chartMetadata"`
	Config    map[string]any `json:"config"`
	Manifest  string         `json:"manifest"`
	Hooks     []release.Hook `json:"hooks"`
	Namespace string         `json:"namespace"`
	OCIDigest string         `json:"ociDigest,omitempty"`
}

// digests returns the digest of a record's values and that of the record.
func digests(r request) (any, error) {
	var record release.Release
	if err := json.Unmarshal([]byte(r.Record), &record); err != nil {
		return nil, err
	}
	s := seen{
		Name:      record.Name,
		Version:   record.Version,
		Manifest:  record.Manifest,
		Namespace: record.Namespace,
		OCIDigest: r.OCIDigest,
	}
	if record.Info != nil {
		s.Info = *record.Info
	}
	if record.Chart != nil && record.Chart.Metadata != nil {
		s.Chart = *record.Chart.Metadata
	}
	if len(record.Config) > 0 {
		s.Config = record.Config
	}
	for _, hook := range record.Hooks {
		if !slices.Contains(hook.Events, release.HookTest) {
			s.Hooks = append(s.Hooks, *hook)
		}
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"config":   chartutil.DigestValues(digest.SHA256, record.Config).String(),
		"snapshot": digest.SHA256.FromString(string(text) + "\n").String(),
	}, nil
}
