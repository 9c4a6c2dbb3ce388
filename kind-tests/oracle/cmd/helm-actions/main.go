// Command helm-actions answers what Helm does to a release and its objects, on a cluster that is not there.
package main

import (
	"io"
	"log"
	"log/slog"

	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"

	"flux.local/oracle/serve"
)

func main() {
	log.SetOutput(io.Discard)
	slog.SetDefault(slog.New(slog.DiscardHandler))
	serve.Run(serve.Modes{
		"action":  serve.Typed(act),
		"objects": serve.Typed(objects),
		"update":  serve.Typed(update),
		"range":   serve.Typed(inRange),
	})
}

type rangeRequest struct {
	Range   string `json:"range"`
	Version string `json:"version"`
}

// inRange tells whether a chart that wants a range of Kubernetes versions takes this one.
func inRange(r rangeRequest) (any, error) {
	return chartutil.IsCompatibleRange(r.Range, r.Version), nil
}
