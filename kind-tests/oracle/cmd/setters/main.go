// Command setters answers with what kyaml reads, finds and changes in files with markers of image policies, as
// image-automation-controller uses it.
package main

import (
	"bytes"
	"encoding/json"
	"strings"

	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/kustomize/kyaml/fieldmeta"
	"sigs.k8s.io/kustomize/kyaml/kio"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/kustomize/kyaml/yaml"
	sigs "sigs.k8s.io/yaml"

	"flux.local/oracle/serve"
)

func main() {
	fieldmeta.SetShortHandRef("$imagepolicy")
	openapi.SuppressBuiltInSchemaUse()
	serve.Run(serve.Modes{"update": serve.Typed(update)})
}

type request struct {
	Text []byte `json:"text"`
	// The text of each setter.
	Setters map[string]string `json:"setters"`
}

// change is what was set: the object, the setter, the old and the new text.
type change struct {
	Object [4]string `json:"object"`
	Setter string    `json:"setter"`
	Old    string    `json:"old"`
	New    string    `json:"new"`
}

const extension = "x-k8s-cli"

type setter struct {
	Setter *struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"setter"`
}

// update sets all marked values; returns the changes, and the documents as JSON, or null if one cannot be read any more.
func update(r request) (any, error) {
	schema := spec.Schema{}
	schema.Definitions = spec.Definitions{}
	for name, value := range r.Setters {
		definition := *spec.StringProperty()
		definition.Extensions = spec.Extensions{}
		definition.Extensions.Add(extension, map[string]any{
			"setter": map[string]string{"name": name, "value": value},
		})
		schema.Definitions[fieldmeta.SetterDefinitionPrefix+name] = definition
	}
	reader := kio.ByteReader{
		Reader:            bytes.NewReader(r.Text),
		SetAnnotations:    map[string]string{"config.kubernetes.io/path": "f.yaml"},
		PreserveSeqIndent: true,
	}
	nodes, err := reader.Read()
	if err != nil {
		return nil, err
	}
	changes := []change{}
	documents, unreadable := []any{}, false
	for _, node := range nodes {
		meta, err := node.GetMeta()
		if err != nil {
			return nil, err
		}
		object := [4]string{meta.APIVersion, meta.Kind, meta.Name, meta.Namespace}
		visit(node, &schema, func(name, old, value string) {
			if old != value {
				changes = append(changes, change{object, name, old, value})
			}
		})
		// A number that becomes a text keeps its tag, so that nothing can read it.
		document, err := plain(node)
		if err != nil {
			unreadable = true
		}
		documents = append(documents, document)
	}
	if unreadable {
		documents = nil
	}
	return map[string]any{"changes": changes, "documents": documents}, nil
}

// visit sets the marked scalars at and below a node.
func visit(node *yaml.RNode, schema *spec.Schema, report func(name, old, value string)) {
	switch node.YNode().Kind {
	case yaml.MappingNode:
		_ = node.VisitFields(func(field *yaml.MapNode) error {
			visit(field.Value, schema, report)
			return nil
		})
	case yaml.SequenceNode:
		_ = node.VisitElements(func(item *yaml.RNode) error {
			visit(item, schema, report)
			return nil
		})
	case yaml.ScalarNode:
		meta := fieldmeta.FieldMeta{SettersSchema: schema}
		if err := meta.Read(node); err != nil || meta.IsEmpty() || meta.Schema.Ref.String() == "" {
			return
		}
		resolved, err := openapi.Resolve(&meta.Schema.Ref, schema)
		if err != nil || resolved == nil {
			return
		}
		raw, err := json.Marshal(resolved.Extensions[extension])
		if err != nil {
			return
		}
		found := setter{}
		if json.Unmarshal(raw, &found) != nil || found.Setter == nil {
			return
		}
		old := node.YNode().Value
		node.YNode().Value = found.Setter.Value
		report(found.Setter.Name, old, found.Setter.Value)
		yaml.FormatNonStringStyle(node.YNode(), *resolved)
	}
}

// plain is a document without the annotations of kyaml.
func plain(node *yaml.RNode) (any, error) {
	text, err := node.String()
	if err != nil {
		return nil, err
	}
	var value any
	if err := sigs.Unmarshal([]byte(text), &value); err != nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return value, nil
	}
	if metadata, ok := object["metadata"].(map[string]any); ok {
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			for key := range annotations {
				if strings.Contains(key, "config.kubernetes.io/") {
					delete(annotations, key)
				}
			}
			if len(annotations) == 0 {
				delete(metadata, "annotations")
			}
		}
		if len(metadata) == 0 {
			delete(object, "metadata")
		}
	}
	return object, nil
}
