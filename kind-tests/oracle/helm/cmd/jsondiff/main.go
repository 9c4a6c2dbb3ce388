// Command jsondiff answers with JSON patches, as they are made of differences between objects.
package main

import (
	"encoding/json"

	"github.com/wI2L/jsondiff"

	"flux.local/oracle/serve"
)

func main() {
	serve.Run(serve.Modes{"diff": serve.Typed(diff)})
}

type request struct {
	Old any `json:"old"`
	New any `json:"new"`
}

func diff(r request) (any, error) {
	patch, err := jsondiff.Compare(r.Old, r.New, jsondiff.Rationalize())
	if err != nil {
		return nil, err
	}
	if patch == nil {
		return "[]", nil
	}
	text, err := json.Marshal(patch)
	return string(text), err
}
