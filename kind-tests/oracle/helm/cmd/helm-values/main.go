// Command helm-values answers with the values that helm-controller composes of inline values and references.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"github.com/go-logr/logr/funcr"
	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fluxcd/pkg/apis/meta"
	"github.com/fluxcd/pkg/chartutil"

	"flux.local/oracle/serve"
)

func main() {
	serve.Run(serve.Modes{"values": serve.Typed(values)})
}

type request struct {
	// The inline values, as JSON.
	Inline string `json:"inline"`
	// The data of objects, by kind and name: "Secret/a".
	Objects    map[string]map[string][]byte `json:"objects"`
	References []meta.ValuesReference       `json:"references"`
}

// reader has the objects of a request.
type reader struct {
	client.Client
	objects map[string]map[string][]byte
}

func (r reader) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	kind := "ConfigMap"
	if _, ok := into.(*corev1.Secret); ok {
		kind = "Secret"
	}
	data, ok := r.objects[kind+"/"+key.Name]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: strings.ToLower(kind) + "s"}, key.Name)
	}
	switch object := into.(type) {
	case *corev1.Secret:
		object.Data = data
	case *corev1.ConfigMap:
		object.Data = map[string]string{}
		for key, value := range data {
			object.Data[key] = string(value)
		}
	}
	return nil
}

func values(r request) (any, error) {
	var inline map[string]any
	if r.Inline != "" {
		if err := json.Unmarshal([]byte(r.Inline), &inline); err != nil {
			return nil, err
		}
	}
	var lines []string
	logger := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
	made, err := chartutil.ChartValuesFromReferences(
		context.Background(), logger, reader{objects: r.Objects}, "apps", inline, r.References...)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(made)
	if err != nil {
		return nil, err
	}
	sort.Strings(lines)
	digests := map[string]string{}
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
		digests[algorithm.String()] = chartutil.DigestValues(algorithm, made).String()
	}
	return map[string]any{
		"values":  string(text),
		"digests": digests,
		"skipped": fmt.Sprint(len(lines)),
	}, nil
}
