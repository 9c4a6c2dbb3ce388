// Command kstatus answers with the status that cli-utils' kstatus computes for objects.
package main

import (
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"

	"flux.local/oracle/serve"
)

// request carries an object as text, so that its integers stay integers.
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

// assess returns the status and the reason of its only condition.
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
