package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/kube"
	kubefake "helm.sh/helm/v4/pkg/kube/fake"
	releaser "helm.sh/helm/v4/pkg/release"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
)

type actionRequest struct {
	Action  string            `json:"action"`
	Name    string            `json:"name"`
	History []release.Release `json:"history"`
	// The labels of the records, by revision.
	HistoryLabels map[int]map[string]string  `json:"historyLabels"`
	Template      string                     `json:"template"`
	Live          map[string]json.RawMessage `json:"live"`
	// The events that fail, counted from zero.
	Fail []int `json:"fail"`

	Replace, CreateNamespace, DisableHooks, TakeOwnership, CleanupOnFail, KeepHistory bool

	ServerSide       string            `json:"serverSide"`
	Labels           map[string]string `json:"labels"`
	MaxHistory       int               `json:"maxHistory"`
	Revision         int               `json:"revision"`
	Include, Exclude []string

	// The user's values and the chart's default values, for an upgrade.
	Values, ChartValues map[string]any
	ReuseValues         bool
}

const namespace = "apps"

// A recorder records events, and makes some of them fail.
type recorder struct {
	events []any
	fail   []int
	labels map[int]map[string]string
}

func (r *recorder) note(event any) error {
	at := len(r.events)
	r.events = append(r.events, event)
	if slices.Contains(r.fail, at) {
		return fmt.Errorf("event %d failed", at)
	}
	return nil
}

func (r *recorder) record(what string, rel *release.Release) error {
	type hook struct {
		Name     string   `json:"name"`
		Phase    string   `json:"phase"`
		Started  bool     `json:"started"`
		Ended    bool     `json:"ended"`
		Policies []string `json:"policies"`
	}
	hooks := []hook{}
	for _, h := range rel.Hooks {
		policies := []string{}
		for _, p := range h.DeletePolicies {
			policies = append(policies, string(p))
		}
		hooks = append(hooks, hook{h.Name, string(h.LastRun.Phase), !h.LastRun.StartedAt.IsZero(), !h.LastRun.CompletedAt.IsZero(), policies})
	}
	labels := map[string]string{}
	for k, v := range rel.Labels {
		if !slices.Contains(driver.GetSystemLabels(), k) {
			labels[k] = v
		}
	}
	return r.note(map[string]any{
		"event": what, "version": rel.Version, "status": rel.Info.Status, "description": rel.Info.Description,
		"deleted": !rel.Info.Deleted.IsZero(), "hooks": hooks, "labels": labels, "method": rel.ApplyMethod,
		"notes": rel.Info.Notes, "first": rel.Info.FirstDeployed.Format(time.RFC3339), "manifest": rel.Manifest,
		"namespace": rel.Namespace, "config": rel.Config,
	})
}

// Records are stored by Helm's own driver.
type records struct {
	*driver.Secrets
	*recorder
}

func (s records) Create(key string, rel releaser.Releaser) error {
	if err := s.record("create record", rel.(*release.Release)); err != nil {
		return err
	}
	return s.Secrets.Create(key, rel)
}

func (s records) Update(key string, rel releaser.Releaser) error {
	if err := s.record("update record", rel.(*release.Release)); err != nil {
		return err
	}
	return s.Secrets.Update(key, rel)
}

func (s records) Delete(key string) (releaser.Releaser, error) {
	if err := s.note(map[string]any{"event": "delete record", "key": key}); err != nil {
		return nil, err
	}
	return s.Secrets.Delete(key)
}

type client struct {
	kubefake.PrintingKubeClient
	*recorder
	*cluster
}

func named(list kube.ResourceList) string {
	names := []string{}
	for _, info := range list {
		names = append(names, info.Name)
	}
	return strings.Join(names, " ")
}

func (c *client) say(what string, list kube.ResourceList) error {
	return c.note(map[string]any{"event": what, "objects": named(list)})
}

func (c *client) Build(reader io.Reader, _ bool) (kube.ResourceList, error) {
	return c.cluster.build(reader, namespace)
}

func (c *client) Create(list kube.ResourceList, _ ...kube.ClientCreateOption) (*kube.Result, error) {
	if err := c.say("create", list); err != nil {
		return nil, err
	}
	return &kube.Result{Created: list}, nil
}

func (c *client) Update(_, list kube.ResourceList, _ ...kube.ClientUpdateOption) (*kube.Result, error) {
	return &kube.Result{Created: list}, c.say("update", list)
}

func (c *client) Delete(list kube.ResourceList, _ metav1.DeletionPropagation) (*kube.Result, []error) {
	if err := c.say("delete", list); err != nil {
		return nil, []error{err}
	}
	return &kube.Result{Deleted: list}, nil
}

func (c *client) GetPodList(_ string, options metav1.ListOptions) (*v1.PodList, error) {
	return &v1.PodList{}, c.note(map[string]any{"event": "logs", "objects": options.LabelSelector + options.FieldSelector})
}

func (c *client) OutputContainerLogsForPodList(*v1.PodList, string, func(namespace, pod, container string) io.Writer) error {
	return nil
}

func (c *client) GetWaiter(kube.WaitStrategy) (kube.Waiter, error) { return c, nil }

func (c *client) GetWaiterWithOptions(kube.WaitStrategy, ...kube.WaitOption) (kube.Waiter, error) {
	return c, nil
}

func (c *client) Wait(list kube.ResourceList, _ time.Duration) error { return c.say("wait", list) }

func (c *client) WaitWithJobs(list kube.ResourceList, _ time.Duration) error {
	return c.say("wait", list)
}

func (c *client) WaitForDelete(list kube.ResourceList, _ time.Duration) error {
	return c.say("gone", list)
}

func (c *client) WatchUntilReady(list kube.ResourceList, _ time.Duration) error {
	return c.say("watch", list)
}

// act performs an action and returns its events.
func act(r actionRequest) (any, error) {
	secrets := driver.NewSecrets(fake.NewClientset().CoreV1().Secrets(namespace))
	for _, rel := range r.History {
		rel.Labels = r.HistoryLabels[rel.Version]
		if err := secrets.Create(fmt.Sprintf("sh.helm.release.v1.%s.v%d", rel.Name, rel.Version), &rel); err != nil {
			return nil, err
		}
	}
	notes := &recorder{fail: r.Fail}
	config := &action.Configuration{
		Releases:     storage.Init(records{secrets, notes}),
		KubeClient:   &client{recorder: notes, cluster: &cluster{live: r.Live}},
		Capabilities: common.DefaultCapabilities,
	}
	info, err := run(r, config)
	told := map[string]any{"events": notes.events, "error": "", "info": info}
	if notes.events == nil {
		told["events"] = []any{}
	}
	if err != nil {
		told["error"] = err.Error()
	}
	return told, nil
}

func run(r actionRequest, config *action.Configuration) (string, error) {
	c := &chart.Chart{
		Metadata:  &chart.Metadata{APIVersion: "v2", Name: "web", Version: "1.0.0"},
		Templates: []*common.File{{Name: "templates/all.yaml", Data: []byte(r.Template)}, {Name: "templates/NOTES.txt", Data: []byte("revision {{ .Release.Revision }}")}},
	}
	values := map[string]any{"given": true}
	if r.Values != nil {
		values = r.Values
	}
	c.Values = r.ChartValues
	switch r.Action {
	case "install":
		i := action.NewInstall(config)
		i.ReleaseName, i.Namespace, i.Replace, i.CreateNamespace = r.Name, namespace, r.Replace, r.CreateNamespace
		i.DisableHooks, i.TakeOwnership, i.Labels = r.DisableHooks, r.TakeOwnership, r.Labels
		i.ServerSideApply = r.ServerSide != "false"
		_, err := i.Run(c, values)
		return "", err
	case "upgrade":
		u := action.NewUpgrade(config)
		u.Namespace, u.DisableHooks, u.TakeOwnership, u.Labels = namespace, r.DisableHooks, r.TakeOwnership, r.Labels
		u.MaxHistory, u.CleanupOnFail, u.ServerSideApply = r.MaxHistory, r.CleanupOnFail, r.ServerSide
		u.ReuseValues = r.ReuseValues
		_, err := u.Run(r.Name, c, values)
		return "", err
	case "rollback":
		b := action.NewRollback(config)
		b.Version, b.DisableHooks, b.MaxHistory, b.CleanupOnFail = r.Revision, r.DisableHooks, r.MaxHistory, r.CleanupOnFail
		b.ServerSideApply = r.ServerSide
		return "", b.Run(r.Name)
	case "uninstall":
		u := action.NewUninstall(config)
		u.KeepHistory, u.DisableHooks = r.KeepHistory, r.DisableHooks
		response, err := u.Run(r.Name)
		if response == nil {
			return "", err
		}
		return response.Info, err
	case "test":
		t := action.NewReleaseTesting(config)
		t.Namespace = namespace
		t.Filters = map[string][]string{action.IncludeNameFilter: r.Include, action.ExcludeNameFilter: r.Exclude}
		_, shutdown, err := t.Run(r.Name)
		if shutdownErr := shutdown(); shutdownErr != nil {
			err = shutdownErr
		}
		return "", err
	}
	return "", errors.New("no such action")
}
