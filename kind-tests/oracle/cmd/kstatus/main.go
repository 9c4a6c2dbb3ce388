// Command kstatus answers how cli-utils' kstatus judges objects.
package main

import (
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"

	"flux.local/oracle/serve"
)

// request carries an object as text, so that its whole numbers stay whole.
type request struct {
	Object string `json:"object"`
}

type verdict struct {
	Status  string `json:"status"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message"`
}

func main() {
	serve.Run(serve.Modes{"assess": serve.Typed(assess)})
}

// assess gives the verdict with the reason of the one condition that goes with it.
func assess(r request) (any, error) {
	object := map[string]any{}
	if err := json.Unmarshal([]byte(r.Object), &object); err != nil {
		return nil, err
	}
	result, err := status.Compute(&unstructured.Unstructured{Object: object})
	if err != nil {
		return nil, err
	}
	answer := verdict{Status: result.Status.String(), Message: result.Message}
	for _, condition := range result.Conditions {
		answer.Reason = condition.Reason
	}
	return answer, nil
}
