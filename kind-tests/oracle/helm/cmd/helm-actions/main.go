// Command helm-actions answers what Helm does to a release and its objects, on a fake cluster.
package main

import (
	"io"
	"log"
	"log/slog"
	"strings"

	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/kube"

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
		"waiter":  serve.Typed(waiter),
	})
}

type rangeRequest struct {
	Range   string `json:"range"`
	Version string `json:"version"`
}

// inRange reports whether a chart that requires a range of Kubernetes versions accepts this one.
func inRange(r rangeRequest) (any, error) {
	return chartutil.IsCompatibleRange(r.Range, r.Version), nil
}

type waiterRequest struct {
	Strategy string `json:"strategy"`
}

// waiter returns the error for the name of a wait strategy. It does not check whether the cluster can be waited on.
func waiter(r waiterRequest) (any, error) {
	_, err := kube.New(nil).GetWaiter(kube.WaitStrategy(r.Strategy))
	if err != nil && strings.Contains(err.Error(), "wait strategy") {
		return nil, err
	}
	return nil, nil
}
