// Answers with an object as fluxcd/pkg/ssa normalises it before it is applied, and describes the types used for this.
package main

import (
	"encoding/json"

	"github.com/fluxcd/pkg/ssa/normalize"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"flux.local/oracle/serve"
)

// request is an object, or one value for a leaf of a type.
type request struct {
	Object unstructured.Unstructured `json:"object"`
}

// leaf has a field for each kind of value that is not merely copied.
type leaf struct {
	Quantity    resource.Quantity    `json:"quantity"`
	Time        metav1.Time          `json:"time"`
	MicroTime   metav1.MicroTime     `json:"microTime"`
	IntOrString intstr.IntOrString   `json:"intOrString"`
	Raw         runtime.RawExtension `json:"raw"`
	Bytes       []byte               `json:"bytes"`
	Int32       int32                `json:"int32"`
	Int64       int64                `json:"int64"`
}

func normalised(request request) (any, error) {
	objects := []*unstructured.Unstructured{&request.Object}
	if err := normalize.UnstructuredList(objects); err != nil {
		return nil, err
	}
	return objects[0].Object, nil
}

// leaves sends {"leaf": ..} through its type and back.
func leaves(raw json.RawMessage) (any, error) {
	var parsed struct {
		Leaf json.RawMessage `json:"leaf"`
	}
	if err := json.Unmarshal(raw, &parsed); err != nil {
		return nil, err
	}
	var wrapped unstructured.Unstructured
	if err := wrapped.UnmarshalJSON([]byte(`{"kind":"Leaf","leaf":` + string(parsed.Leaf) + `}`)); err != nil {
		return nil, err
	}
	var typed leaf
	value := wrapped.Object["leaf"].(map[string]any)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(value, &typed); err != nil {
		return nil, err
	}
	back, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&typed)
	if err != nil {
		return nil, err
	}
	for field := range value {
		return back[field], nil
	}
	return nil, nil
}

func main() {
	serve.Run(serve.Modes{
		"normalise": serve.Typed(normalised),
		"leaf":      leaves,
		"types":     serve.Typed(func(struct{}) (any, error) { return describe() }),
	})
}
