// Command helm-postrender answers with manifests changed by kustomize's library, in the ways in which helm-controller
// uses it.
package main

import (
	"encoding/json"

	"sigs.k8s.io/kustomize/api/builtins"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"flux.local/oracle/serve"
)

func main() {
	serve.Run(serve.Modes{
		"metadata":  serve.Typed(metadata),
		"kustomize": serve.Typed(kustomize),
	})
}

type metadataRequest struct {
	Manifests   string            `json:"manifests"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func field(path string) []types.FieldSpec {
	return []types.FieldSpec{{Path: path, CreateIfNotPresent: true}}
}

func metadata(r metadataRequest) (any, error) {
	factory := resmap.NewFactory(provider.NewDefaultDepProvider().GetResourceFactory())
	objects, err := factory.NewResMapFromBytes([]byte(r.Manifests))
	if err != nil {
		return nil, err
	}
	labels := &builtins.LabelTransformerPlugin{Labels: r.Labels, FieldSpecs: field("metadata/labels")}
	if err := labels.Transform(objects); err != nil {
		return nil, err
	}
	annotations := &builtins.AnnotationsTransformerPlugin{Annotations: r.Annotations, FieldSpecs: field("metadata/annotations")}
	if err := annotations.Transform(objects); err != nil {
		return nil, err
	}
	text, err := objects.AsYaml()
	return string(text), err
}

type kustomizeRequest struct {
	Manifests string        `json:"manifests"`
	Patches   []types.Patch `json:"patches"`
	Images    []types.Image `json:"images"`
}

func kustomize(r kustomizeRequest) (any, error) {
	files := filesys.MakeFsInMemory()
	if err := files.WriteFile("helm-output.yaml", []byte(r.Manifests)); err != nil {
		return nil, err
	}
	text, err := json.Marshal(types.Kustomization{
		TypeMeta:  types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind},
		Resources: []string{"helm-output.yaml"},
		Patches:   r.Patches,
		Images:    r.Images,
	})
	if err != nil {
		return nil, err
	}
	if err := files.WriteFile("kustomization.yaml", text); err != nil {
		return nil, err
	}
	options := &krusty.Options{
		LoadRestrictions: types.LoadRestrictionsNone,
		PluginConfig:     types.DisabledPluginConfig(),
	}
	made, err := krusty.MakeKustomizer(options).Run(files, ".")
	if err != nil {
		return nil, err
	}
	out, err := made.AsYaml()
	return string(out), err
}
