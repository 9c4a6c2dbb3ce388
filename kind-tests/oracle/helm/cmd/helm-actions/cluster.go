package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/rest/fake"
	"k8s.io/client-go/restmapper"

	"helm.sh/helm/v4/pkg/kube"
)

// A cluster holds objects by the path of their URL, and records the requests.
type cluster struct {
	live     map[string]json.RawMessage
	fail     map[string]int
	requests []request
}

type request struct {
	Method string          `json:"method"`
	Path   string          `json:"path"`
	Query  string          `json:"query,omitempty"`
	Type   string          `json:"type,omitempty"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// mapper knows some kinds, and List in every group.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []struct {
		group, version, kind string
		scope                meta.RESTScope
	}{
		{"", "v1", "ConfigMap", meta.RESTScopeNamespace},
		{"", "v1", "Secret", meta.RESTScopeNamespace},
		{"", "v1", "Service", meta.RESTScopeNamespace},
		{"", "v1", "ServiceAccount", meta.RESTScopeNamespace},
		{"", "v1", "Pod", meta.RESTScopeNamespace},
		{"", "v1", "Namespace", meta.RESTScopeRoot},
		{"", "v1", "List", meta.RESTScopeRoot},
		{"apps", "v1", "Deployment", meta.RESTScopeNamespace},
		{"batch", "v1", "Job", meta.RESTScopeNamespace},
		{"batch", "v1beta1", "CronJob", meta.RESTScopeNamespace},
		{"batch", "v1", "CronJob", meta.RESTScopeNamespace},
		{"networking.k8s.io", "v1", "Ingress", meta.RESTScopeNamespace},
		{"rbac.authorization.k8s.io", "v1", "ClusterRole", meta.RESTScopeRoot},
		{"apiextensions.k8s.io", "v1", "CustomResourceDefinition", meta.RESTScopeRoot},
		{"example.com", "v1", "Widget", meta.RESTScopeNamespace},
	} {
		m.Add(schema.GroupVersionKind{Group: kind.group, Version: kind.version, Kind: kind.kind}, kind.scope)
	}
	return m
}

// build reads objects as Helm's client does.
func (c *cluster) build(reader io.Reader, namespace string) (kube.ResourceList, error) {
	client := func(version schema.GroupVersion) (resource.RESTClient, error) {
		api := "/apis/" + version.String()
		if version.Group == "" {
			api = "/api/" + version.Version
		}
		return &fake.RESTClient{
			GroupVersion:         version,
			VersionedAPIPath:     api,
			NegotiatedSerializer: resource.UnstructuredPlusDefaultContentConfig().NegotiatedSerializer,
			Client:               fake.CreateHTTPClient(c.serve),
		}, nil
	}
	return resource.NewFakeBuilder(
		client,
		func() (meta.RESTMapper, error) { return mapper(), nil },
		func() (restmapper.CategoryExpander, error) { return resource.FakeCategoryExpander, nil },
	).
		ContinueOnError().
		NamespaceParam(namespace).
		DefaultNamespace().
		Flatten().
		Unstructured().
		Stream(reader, "").
		Do().Infos()
}

func (c *cluster) serve(r *http.Request) (*http.Response, error) {
	path := r.URL.Path
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	noted := request{Method: r.Method, Path: path, Query: query(r.URL.Query()), Type: r.Header.Get("Content-Type")}
	if len(body) > 0 {
		noted.Body = bytes.TrimSpace(body)
	}
	c.requests = append(c.requests, noted)
	if code, ok := c.fail[r.Method+" "+path]; ok {
		return answer(code, status(code, "refused"))
	}
	live, exists := c.live[path]
	switch r.Method {
	case http.MethodGet:
		if !exists {
			return answer(http.StatusNotFound, status(http.StatusNotFound, "not found"))
		}
		return answer(http.StatusOK, live)
	case http.MethodDelete:
		delete(c.live, path)
		return answer(http.StatusOK, []byte(`{"kind":"Status","apiVersion":"v1","status":"Success"}`))
	case http.MethodPatch:
		if exists {
			return answer(http.StatusOK, live)
		}
	}
	return answer(http.StatusOK, body)
}

func query(values url.Values) string {
	return strings.ReplaceAll(values.Encode(), "&", " ")
}

func status(code int, message string) []byte {
	reason := map[int]metav1.StatusReason{404: metav1.StatusReasonNotFound, 409: metav1.StatusReasonConflict, 403: metav1.StatusReasonForbidden}[code]
	text, _ := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
	})
	return text
}

func answer(code int, body []byte) (*http.Response, error) {
	header := http.Header{}
	header.Set("Content-Type", "application/json")
	return &http.Response{StatusCode: code, Header: header, Body: io.NopCloser(bytes.NewReader(body))}, nil
}

type objectsRequest struct {
	Manifest  string `json:"manifest"`
	Namespace string `json:"namespace"`
}

func objects(r objectsRequest) (any, error) {
	infos, err := (&cluster{}).build(strings.NewReader(r.Manifest), r.Namespace)
	if err != nil {
		return nil, err
	}
	found := []any{}
	for _, info := range infos {
		found = append(found, map[string]any{
			"namespace": info.Namespace,
			"name":      info.Name,
			"object":    info.Object.(*unstructured.Unstructured).Object,
		})
	}
	return found, nil
}

type updateRequest struct {
	Base       string                     `json:"base"`
	Target     string                     `json:"target"`
	Namespace  string                     `json:"namespace"`
	Live       map[string]json.RawMessage `json:"live"`
	Fail       map[string]int             `json:"fail"`
	ServerSide bool                       `json:"serverSide"`
	Conflicts  bool                       `json:"conflicts"`
	Migrate    bool                       `json:"migrate"`
	ThreeWay   bool                       `json:"threeWay"`
	Force      bool                       `json:"force"`
}

// update changes the objects of one manifest to those of another and returns the requests it made.
func update(r updateRequest) (any, error) {
	kube.ManagedFieldsManager = "helm-controller"
	c := &cluster{live: r.Live, fail: r.Fail}
	base, err := c.build(strings.NewReader(r.Base), r.Namespace)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	target, err := c.build(strings.NewReader(r.Target), r.Namespace)
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	client := &kube.Client{Namespace: r.Namespace}
	result, err := client.Update(base, target,
		kube.ClientUpdateOptionServerSideApply(r.ServerSide, r.Conflicts),
		kube.ClientUpdateOptionUpgradeClientSideFieldManager(r.Migrate),
		kube.ClientUpdateOptionThreeWayMergeForUnstructured(r.ThreeWay),
		kube.ClientUpdateOptionForceReplace(r.Force))
	names := func(list kube.ResourceList) []string {
		out := []string{}
		for _, info := range list {
			out = append(out, info.Name)
		}
		return out
	}
	told := map[string]any{
		"requests": c.requests, "error": "",
		"created": names(result.Created), "updated": names(result.Updated), "deleted": names(result.Deleted),
	}
	if err != nil {
		told["error"] = err.Error()
	}
	return told, nil
}
