// Command kustomize builds trees as kustomize does.
package main

import (
	"encoding/base64"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"

	"flux.local/oracle/serve"
)

// buildRequest is a tree in base64 by absolute path, and the folder to build.
type buildRequest struct {
	Files map[string]string `json:"files"`
	Dir   string            `json:"dir"`
	// Flux asks for the settings of Flux's controllers.
	Flux bool `json:"flux"`
}

func main() {
	serve.Run(serve.Modes{"build": serve.Typed(build)})
}

func build(r buildRequest) (any, error) {
	fs := filesys.MakeFsInMemory()
	for path, content := range r.Files {
		bytes, err := base64.StdEncoding.DecodeString(content)
		if err != nil {
			return nil, err
		}
		if err := fs.WriteFile(path, bytes); err != nil {
			return nil, err
		}
	}
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionNone
	openapi.ResetOpenAPI()
	if r.Flux {
		options.LoadRestrictions = types.LoadRestrictionsNone
		_ = openapi.Schema()
	}
	resources, err := krusty.MakeKustomizer(options).Run(fs, r.Dir)
	if err != nil {
		return nil, err
	}
	yaml, err := resources.AsYaml()
	if err != nil {
		return nil, err
	}
	return string(yaml), nil
}
