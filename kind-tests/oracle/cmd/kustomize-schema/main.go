// Command kustomize-schema prints what strategic merge has to know of Kubernetes' built-in types: which lists merge, and
// by which keys. It derives that from the OpenAPI document that kyaml carries.
//
// A line `<id> <name> <field>=<type> ...` tells the fields of a type that matter: `field=7` is an object of type 7,
// `field@name=7` a list of such objects merged by `name`, `field@=` a list of scalars merged as a set, `*` any field. A
// line `<group/version> <kind> <id>` names the type of an object. Types and fields that lead to no merged list are left
// out.
package main

import (
	"fmt"
	"sort"
	"strings"

	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

type field struct{ name, keys, target string }

// The types of values of maps inside types, which the format has no way to tell.
var inlineMaps []string

func main() {
	definitions := openapi.Schema().Definitions
	types := map[string][]field{}
	for name, definition := range definitions {
		types[name] = fieldsOf(definition)
	}
	// Keep what leads to a merged list.
	useful := map[string]bool{}
	for changed := true; changed; {
		changed = false
		for name, fields := range types {
			if useful[name] {
				continue
			}
			for _, f := range fields {
				if f.keys != "" || useful[f.target] {
					useful[name] = true
					changed = true
					break
				}
			}
		}
	}
	for _, name := range inlineMaps {
		if useful[name] {
			panic("a map of " + name)
		}
	}
	names := []string{}
	for name := range useful {
		names = append(names, name)
	}
	sort.Strings(names)
	ids := map[string]string{}
	for i, name := range names {
		ids[name] = fmt.Sprint(i)
	}
	for _, name := range names {
		parts := []string{ids[name], name}
		for _, f := range types[name] {
			if f.keys == "" && !useful[f.target] {
				continue
			}
			parts = append(parts, f.name+f.keys+"="+ids[f.target])
		}
		fmt.Println(strings.Join(parts, " "))
	}
	lines := []string{}
	for name, definition := range definitions {
		gvks, _ := definition.Extensions["x-kubernetes-group-version-kind"].([]interface{})
		for _, gvk := range gvks {
			m := gvk.(map[string]interface{})
			apiVersion := m["version"].(string)
			if group, _ := m["group"].(string); group != "" {
				apiVersion = group + "/" + apiVersion
			}
			id := ids[name]
			if id == "" {
				id = "-"
			}
			lines = append(lines, fmt.Sprintf("%s %s %s", apiVersion, m["kind"], id))
		}
	}
	sort.Strings(lines)
	for _, line := range lines {
		if strings.Contains(line, " DeleteOptions ") || strings.Contains(line, " WatchEvent ") {
			continue
		}
		fmt.Println(line)
	}
}

func fieldsOf(schema spec.Schema) []field {
	fields := []field{}
	for name, property := range schema.Properties {
		fields = append(fields, fieldOf(name, property))
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		fields = append(fields, fieldOf("*", *schema.AdditionalProperties.Schema))
	}
	sort.Slice(fields, func(i, j int) bool { return fields[i].name < fields[j].name })
	return fields
}

func fieldOf(name string, schema spec.Schema) field {
	f := field{name: name, target: target(schema)}
	if len(schema.Properties) > 0 {
		panic("inline object at " + name)
	}
	if len(schema.Type) != 1 || schema.Type[0] != "array" {
		if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
			inlineMaps = append(inlineMaps, target(*schema.AdditionalProperties.Schema))
		}
		return f
	}
	f.target = ""
	strategy, _ := schema.Extensions["x-kubernetes-patch-strategy"].(string)
	merges := false
	for _, s := range strings.Split(strategy, ",") {
		merges = merges || s == "merge"
	}
	if !merges {
		return f
	}
	f.keys = "@"
	if list, ok := schema.Extensions["x-kubernetes-list-map-keys"].([]interface{}); ok {
		keys := []string{}
		for _, key := range list {
			keys = append(keys, key.(string))
		}
		f.keys += strings.Join(keys, ",")
	} else if key, ok := schema.Extensions["x-kubernetes-patch-merge-key"].(string); ok {
		f.keys += key
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		f.target = target(*schema.Items.Schema)
	}
	return f
}

func target(schema spec.Schema) string {
	return strings.TrimPrefix(schema.Ref.String(), "#/definitions/")
}
