// Command yaml answers with the results of sigs.k8s.io/yaml, yaml.v3 and kyaml for a document.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	yaml3 "go.yaml.in/yaml/v3"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/yaml"

	"flux.local/oracle/serve"
)

// request carries a document as base64, since it need not be UTF-8.
type request struct {
	Input  string `json:"input"`
	Indent int    `json:"indent"`
}

func (r request) bytes() ([]byte, error) {
	return base64.StdEncoding.DecodeString(r.Input)
}

func main() {
	serve.Run(serve.Modes{
		"sigs-to-json":        serve.Typed(toJSON(yaml.YAMLToJSON)),
		"sigs-to-json-strict": serve.Typed(toJSON(yaml.YAMLToJSONStrict)),
		"sigs-from-json":      serve.Typed(toJSON(yaml.JSONToYAML)),
		"sigs-round-trip":     serve.Typed(sigsRoundTrip),
		"v3-round-trip":       serve.Typed(roundTrip(false)),
		"kyaml-round-trip":    serve.Typed(roundTrip(true)),
		"v3-tree":             serve.Typed(tree),
		"v3-to-json":          serve.Typed(v3ToJSON),
		"v3-from-json":        serve.Typed(v3FromJSON),
		"kyaml-deanchor":      serve.Typed(deanchor),
		"speed":               serve.Typed(speed),
	})
}

func toJSON(convert func([]byte) ([]byte, error)) func(request) (any, error) {
	return func(r request) (any, error) {
		in, err := r.bytes()
		if err != nil {
			return nil, err
		}
		out, err := convert(in)
		return string(out), err
	}
}

// sigsRoundTrip reads a document into untyped Go values and writes it again, as most of Kubernetes' tooling does.
func sigsRoundTrip(r request) (any, error) {
	in, err := r.bytes()
	if err != nil {
		return nil, err
	}
	var value any
	if err := yaml.Unmarshal(in, &value); err != nil {
		return nil, err
	}
	out, err := yaml.Marshal(value)
	return string(out), err
}

func decodeAll(in []byte) ([]*yaml3.Node, error) {
	decoder := yaml3.NewDecoder(bytes.NewReader(in))
	var documents []*yaml3.Node
	for {
		var node yaml3.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, err
		}
		documents = append(documents, &node)
	}
}

func roundTrip(compact bool) func(request) (any, error) {
	return func(r request) (any, error) {
		in, err := r.bytes()
		if err != nil {
			return nil, err
		}
		documents, err := decodeAll(in)
		if err != nil {
			return nil, err
		}
		var out bytes.Buffer
		encoder := yaml3.NewEncoder(&out)
		if r.Indent > 0 {
			encoder.SetIndent(r.Indent)
		}
		if compact {
			encoder = kyaml.NewEncoder(&out)
		}
		for _, document := range documents {
			if err := encoder.Encode(document); err != nil {
				return nil, err
			}
		}
		if len(documents) > 0 { // an encoder that was never used cannot be closed
			err = encoder.Close()
		}
		return out.String(), err
	}
}

type node struct {
	Kind    string  `json:"kind"`
	Style   uint32  `json:"style"`
	Tag     string  `json:"tag"`
	Value   string  `json:"value"`
	Anchor  string  `json:"anchor"`
	Head    string  `json:"head"`
	Line    string  `json:"line"`
	Foot    string  `json:"foot"`
	Row     int     `json:"row"`
	Column  int     `json:"column"`
	Content []*node `json:"content"`
}

func tree(r request) (any, error) {
	in, err := r.bytes()
	if err != nil {
		return nil, err
	}
	documents, err := decodeAll(in)
	if err != nil {
		return nil, err
	}
	out := []*node{}
	for _, document := range documents {
		out = append(out, describe(document))
	}
	return out, nil
}

func describe(n *yaml3.Node) *node {
	kinds := map[yaml3.Kind]string{
		yaml3.DocumentNode: "document", yaml3.MappingNode: "mapping", yaml3.SequenceNode: "sequence",
		yaml3.ScalarNode: "scalar", yaml3.AliasNode: "alias",
	}
	d := &node{
		Kind: kinds[n.Kind], Style: uint32(n.Style), Tag: n.Tag, Value: n.Value, Anchor: n.Anchor,
		Head: n.HeadComment, Line: n.LineComment, Foot: n.FootComment, Row: n.Line, Column: n.Column,
		Content: []*node{},
	}
	for _, child := range n.Content {
		d.Content = append(d.Content, describe(child))
	}
	return d
}

// v3ToJSON reads with yaml.v3 into untyped Go values and writes JSON, as kyaml's RNode.MarshalJSON does.
func v3ToJSON(r request) (any, error) {
	in, err := r.bytes()
	if err != nil {
		return nil, err
	}
	var value any
	if err := yaml3.Unmarshal(in, &value); err != nil {
		return nil, err
	}
	out, err := json.Marshal(value)
	return string(out), err
}

// v3FromJSON writes JSON values with yaml.v3, as Helm's toYamlPretty does.
func v3FromJSON(r request) (any, error) {
	in, err := r.bytes()
	if err != nil {
		return nil, err
	}
	var value any
	if err := json.Unmarshal(in, &value); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := yaml3.NewEncoder(&out)
	if r.Indent > 0 {
		encoder.SetIndent(r.Indent)
	}
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return out.String(), encoder.Close()
}

func containsItself(n *yaml3.Node, open map[*yaml3.Node]bool) string {
	if n == nil {
		return ""
	}
	if open[n] {
		return n.Anchor
	}
	open[n] = true
	defer delete(open, n)
	if name := containsItself(n.Alias, open); name != "" {
		return name
	}
	for _, child := range n.Content {
		if name := containsItself(child, open); name != "" {
			return name
		}
	}
	return ""
}

func deanchor(r request) (any, error) {
	in, err := r.bytes()
	if err != nil {
		return nil, err
	}
	parsed, err := kyaml.Parse(string(in))
	if err != nil {
		return nil, err
	}
	if name := containsItself(parsed.Document(), map[*yaml3.Node]bool{}); name != "" {
		// kyaml would recurse until the process dies.
		return nil, fmt.Errorf("yaml: anchor '%s' value contains itself", name)
	}
	if err := parsed.DeAnchor(); err != nil {
		return nil, err
	}
	return parsed.String()
}
