// Command helm-index reads the index of a chart repository as Helm does.
package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	repo "helm.sh/helm/v4/pkg/repo/v1"

	"flux.local/oracle/serve"
)

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	serve.Run(serve.Modes{"load": serve.Typed(load)})
}

type request struct {
	Text string `json:"text"`
}

// load returns the index in the form in which source-controller stores it.
func load(r request) (any, error) {
	dir, err := os.MkdirTemp("", "helm-index-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "index.yaml")
	if err := os.WriteFile(file, []byte(r.Text), 0o600); err != nil {
		return nil, err
	}
	if err := os.Chdir(dir); err != nil {
		return nil, err
	}
	index, err := repo.LoadIndexFile("index.yaml")
	if err != nil {
		return nil, err
	}
	stored, err := json.MarshalIndent(index, "", "  ")
	return string(stored), err
}
