// Command helm answers with the results of Helm for charts, values and release records.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"

	"github.com/BurntSushi/toml"
	"github.com/gobwas/glob"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	anyloader "helm.sh/helm/v4/pkg/chart/loader"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	release "helm.sh/helm/v4/pkg/release/v1"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"helm.sh/helm/v4/pkg/storage/driver"
	"helm.sh/helm/v4/pkg/strvals"

	"flux.local/oracle/serve"
)

func main() {
	log.SetOutput(io.Discard)
	slog.SetDefault(slog.New(slog.DiscardHandler))
	serve.Run(serve.Modes{
		"set":        serve.Typed(set),
		"load":       serve.Typed(load),
		"supported":  serve.Typed(supported),
		"render":     serve.Typed(render),
		"split":      serve.Typed(split),
		"versions":   serve.Typed(versions),
		"postrender": serve.Typed(postRender),
		"schema":     serve.Typed(schema),
		"store":      serve.Typed(store),
		"read":       serve.Typed(read),
		"glob":       serve.Typed(matches),
		"toml":       serve.Typed(toToml),
		"bench":      serve.Typed(bench),
	})
}

type setRequest struct {
	Option   string         `json:"option"`
	Argument string         `json:"argument"`
	Values   map[string]any `json:"values"`
}

func set(r setRequest) (any, error) {
	if r.Values == nil {
		r.Values = map[string]any{}
	}
	var err error
	switch r.Option {
	case "set":
		err = strvals.ParseInto(r.Argument, r.Values)
	case "set-string":
		err = strvals.ParseIntoString(r.Argument, r.Values)
	case "set-json":
		err = strvals.ParseJSON(r.Argument, r.Values)
	case "set-literal":
		err = strvals.ParseLiteralInto(r.Argument, r.Values)
	}
	return r.Values, err
}

type chartRequest struct {
	// A packed chart.
	Archive string `json:"archive"`
	Values  string `json:"values"`
	Set     []string
	Upgrade bool `json:"upgrade"`
}

func (r chartRequest) chart() (*chart.Chart, error) {
	archive, err := base64.StdEncoding.DecodeString(r.Archive)
	if err != nil {
		return nil, err
	}
	return loader.LoadArchive(bytes.NewReader(archive))
}

// supported tells what source-controller's reader of packed charts says of the version of the chart API.
func supported(r chartRequest) (any, error) {
	archive, err := base64.StdEncoding.DecodeString(r.Archive)
	if err != nil {
		return nil, err
	}
	loaded, err := anyloader.LoadArchive(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	if _, ok := loaded.(*chart.Chart); !ok {
		return nil, errors.New("only the Chart API v2 is supported")
	}
	return nil, nil
}

type loaded struct {
	Chart        *chart.Chart `json:"chart"`
	Dependencies []loaded     `json:"dependencies"`
}

func load(r chartRequest) (any, error) {
	c, err := r.chart()
	if err != nil {
		return nil, err
	}
	return tree(c), nil
}

func tree(c *chart.Chart) loaded {
	below := []loaded{}
	for _, d := range c.Dependencies() {
		below = append(below, tree(d))
	}
	return loaded{c, below}
}

// render installs a chart without a cluster, as `helm template` does, and returns the release.
func render(r chartRequest) (any, error) {
	c, err := r.chart()
	if err != nil {
		return nil, err
	}
	values, err := loader.LoadValues(bytes.NewReader([]byte(r.Values)))
	if err != nil {
		return nil, err
	}
	for _, s := range r.Set {
		if err := strvals.ParseInto(s, values); err != nil {
			return nil, err
		}
	}
	client := install()
	client.IncludeCRDs = true
	client.IsUpgrade = r.Upgrade
	rel, err := client.Run(c, values)
	if err != nil {
		return nil, err
	}
	return rel, nil
}

// install is the action of `helm template`.
func install() *action.Install {
	client := action.NewInstall(&action.Configuration{})
	client.DryRunStrategy = action.DryRunClient
	client.ReleaseName = "rel"
	client.Namespace = "apps"
	client.Replace = true
	return client
}

type textRequest struct {
	Text string `json:"text"`
	Name string `json:"name"`
}

func split(r textRequest) (any, error) {
	hooks, manifests, err := releaseutil.SortManifests(map[string]string{r.Name: r.Text}, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, err
	}
	contents := []string{}
	for _, m := range manifests {
		contents = append(contents, m.Content)
	}
	return map[string]any{"hooks": hooks, "manifests": contents}, nil
}

type schemaRequest struct {
	Schema string         `json:"schema"`
	Values map[string]any `json:"values"`
}

func schema(r schemaRequest) (any, error) {
	return nil, util.ValidateAgainstSingleSchema(common.Values(r.Values), []byte(r.Schema))
}

// store returns the Secret in which Helm would store a release that is given as JSON.
func store(r textRequest) (any, error) {
	var rel release.Release
	if err := json.Unmarshal([]byte(r.Text), &rel); err != nil {
		return nil, err
	}
	client := fake.NewClientset().CoreV1().Secrets("apps")
	if err := driver.NewSecrets(client).Create(r.Name, &rel); err != nil {
		return nil, err
	}
	return client.Get(context.Background(), r.Name, metav1.GetOptions{})
}

// read returns the release that Helm reads from a Secret's value.
func read(r textRequest) (any, error) {
	client := fake.NewClientset().CoreV1().Secrets("apps")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: r.Name}, Data: map[string][]byte{"release": []byte(r.Text)}}
	if _, err := client.Create(context.Background(), secret, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	rel, err := driver.NewSecrets(client).Get(r.Name)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(rel)
	return string(text), err
}

type globRequest struct {
	Pattern string   `json:"pattern"`
	Paths   []string `json:"paths"`
}

func matches(r globRequest) (any, error) {
	g, err := glob.Compile(r.Pattern, '/')
	if err != nil {
		return nil, err
	}
	answers := []bool{}
	for _, path := range r.Paths {
		answers = append(answers, g.Match(path))
	}
	return answers, nil
}

type tomlRequest struct {
	Value map[string]any `json:"value"`
}

func toToml(r tomlRequest) (any, error) {
	var out bytes.Buffer
	err := toml.NewEncoder(&out).Encode(r.Value)
	return out.String(), err
}
