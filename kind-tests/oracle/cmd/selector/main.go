// Command selector answers with the results of Kubernetes for label selectors.
package main

import (
	"k8s.io/apimachinery/pkg/labels"

	"flux.local/oracle/serve"
)

type request struct {
	Text   []byte       `json:"text"`
	Labels []labels.Set `json:"labels"`
}

func main() {
	serve.Run(serve.Modes{"parse": serve.Typed(parse)})
}

// parse returns the selector's canonical text, and for each set of labels whether it matches.
func parse(r request) (any, error) {
	selector, err := labels.Parse(string(r.Text))
	if err != nil {
		return nil, err
	}
	matches := []bool{}
	for _, set := range r.Labels {
		matches = append(matches, selector.Matches(set))
	}
	return []any{selector.String(), matches}, nil
}
