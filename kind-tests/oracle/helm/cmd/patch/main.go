// Command patch answers with the patch that Helm would send for a live object without server-side apply.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"

	"flux.local/oracle/serve"
)

func main() {
	if err := apiextv1.AddToScheme(scheme.Scheme); err != nil {
		panic(err)
	}
	serve.Run(serve.Modes{
		"types": serve.Typed(func(struct{}) (any, error) { return types(), nil }),
		"patch": serve.Typed(patch),
	})
}

type request struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Old        json.RawMessage `json:"old"`
	New        json.RawMessage `json:"new"`
	Live       json.RawMessage `json:"live"`
	ThreeWay   bool            `json:"threeWay"`
}

// patch selects the kind of patch by the type of the object, as Helm's client does.
func patch(r request) (any, error) {
	gv, err := schema.ParseGroupVersion(r.APIVersion)
	if err != nil {
		return nil, err
	}
	versioned, err := scheme.Scheme.New(gv.WithKind(r.Kind))
	if err == nil {
		meta, err := strategicpatch.NewPatchMetaFromStruct(versioned)
		if err != nil {
			return nil, err
		}
		made, err := strategicpatch.CreateThreeWayMergePatch(r.Old, r.New, r.Live, meta, true)
		return map[string]any{"type": "strategic", "patch": string(made)}, err
	}
	if !runtime.IsNotRegisteredError(err) {
		return nil, err
	}
	if !r.ThreeWay {
		made, err := jsonpatch.CreateMergePatch(r.Old, r.New)
		return map[string]any{"type": "merge", "patch": string(made)}, err
	}
	made, err := jsonmergepatch.CreateThreeWayJSONMergePatch(r.Old, r.New, r.Live,
		mergepatch.RequireKeyUnchanged("apiVersion"),
		mergepatch.RequireKeyUnchanged("kind"),
		mergepatch.RequireMetadataKeyUnchanged("name"))
	if err != nil && mergepatch.IsPreconditionFailed(err) {
		return nil, errors.New("precondition failed")
	}
	return map[string]any{"type": "merge", "patch": string(made)}, err
}

type field struct {
	name       string
	of         reflect.Type
	strategies string
	key        string
}

// types lists which fields merge: lines of kinds with the number of their type, a line of types with their fields
// `name[=type][!strategies][@key]`. Types below which nothing merges are left out.
func types() string {
	fields := map[reflect.Type][]field{}
	kinds := map[string]reflect.Type{}
	for gvk, t := range scheme.Scheme.AllKnownTypes() {
		if gvk.Version == runtime.APIVersionInternal {
			continue
		}
		if _, ok := t.FieldByName("ObjectMeta"); !ok {
			continue
		}
		kinds[gvk.GroupVersion().String()+" "+gvk.Kind] = t
		collect(t, fields)
	}
	matters := map[reflect.Type]bool{}
	for changed := true; changed; {
		changed = false
		for t, all := range fields {
			for _, f := range all {
				if !matters[t] && (f.strategies != "" || matters[f.of]) {
					matters[t], changed = true, true
				}
			}
		}
	}
	names := map[string]reflect.Type{}
	for t := range fields {
		if matters[t] {
			names[t.PkgPath()+"."+t.Name()] = t
		}
	}
	numbers := map[reflect.Type]int{}
	var order []reflect.Type
	for _, name := range sorted(names) {
		numbers[names[name]] = len(order)
		order = append(order, names[name])
	}
	var out strings.Builder
	for _, kind := range sorted(kinds) {
		fmt.Fprintf(&out, "%s %d\n", kind, numbers[kinds[kind]])
	}
	out.WriteString("\n")
	for _, t := range order {
		var parts []string
		for _, f := range fields[t] {
			part := f.name
			if matters[f.of] {
				part += fmt.Sprintf("=%d", numbers[f.of])
			}
			if f.strategies != "" {
				part += "!" + f.strategies
			}
			if f.key != "" {
				part += "@" + f.key
			}
			if part != f.name {
				parts = append(parts, part)
			}
		}
		slices.Sort(parts)
		out.WriteString(strings.Join(parts, " ") + "\n")
	}
	return out.String()
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func collect(t reflect.Type, fields map[reflect.Type][]field) {
	if _, known := fields[t]; known {
		return
	}
	fields[t] = nil
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		of := f.Type
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() == reflect.Struct {
			collect(of, fields)
		}
		if f.Anonymous && (name == "" || strings.Contains(options, "inline")) {
			fields[t] = append(fields[t], fields[of]...)
			continue
		}
		if name == "" || name == "-" {
			continue
		}
		fields[t] = append(fields[t], field{name, of, f.Tag.Get("patchStrategy"), f.Tag.Get("patchMergeKey")})
	}
}
