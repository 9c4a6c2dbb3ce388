package main

import (
	"bytes"
	"errors"
	"strings"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	release "helm.sh/helm/v4/pkg/release/v1"
)

type postRenderRequest struct {
	// Templates by name.
	Files    map[string]string `json:"files"`
	Strategy string            `json:"strategy"`
	// The output of the post-renderer for each run, instead of its input.
	Outputs []string `json:"outputs"`
	Fail    string   `json:"fail"`
	// The text that it replaces in its input.
	Replace [2]string `json:"replace"`
}

type recorder struct {
	postRenderRequest
	inputs []string
}

func (r *recorder) Run(in *bytes.Buffer) (*bytes.Buffer, error) {
	r.inputs = append(r.inputs, in.String())
	if r.Fail != "" {
		return nil, errors.New(r.Fail)
	}
	if len(r.Outputs) >= len(r.inputs) {
		return bytes.NewBufferString(r.Outputs[len(r.inputs)-1]), nil
	}
	if r.Replace[0] == "" {
		return in, nil
	}
	return bytes.NewBufferString(strings.ReplaceAll(in.String(), r.Replace[0], r.Replace[1])), nil
}

// postRender installs a chart without a cluster through a post-renderer, and returns the input of the post-renderer
// and the release.
func postRender(r postRenderRequest) (any, error) {
	c := &chart.Chart{Metadata: &chart.Metadata{Name: "c", Version: "1.0.0", APIVersion: "v2"}}
	for name, text := range r.Files {
		c.Templates = append(c.Templates, &common.File{Name: "templates/" + name, Data: []byte(text)})
	}
	client := install()
	through := &recorder{postRenderRequest: r}
	client.PostRenderer = through
	client.PostRenderStrategy = action.PostRenderStrategy(r.Strategy)
	made, err := client.Run(c, map[string]any{})
	if err != nil {
		return nil, err
	}
	rel := made.(*release.Release)
	return map[string]any{"inputs": through.inputs, "hooks": rel.Hooks, "manifest": rel.Manifest}, nil
}
