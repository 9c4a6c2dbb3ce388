package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
)

const header = `# The types of Kubernetes' built-in kinds, by which objects are normalised before they are applied.
# Generated from k8s.io/api %s (the types that client-go's scheme registers, which fluxcd/pkg/ssa %s converts with):
#   FLUX_GOLDEN=write cargo test -p flux-apply --lib normalise::differential
# A struct is a line of fields, and known by its number, from 0. A field is its name, how it is left out (? omitempty,
# ! omitzero), and after = its type: s string, b bool, i int32, l int64, y bytes, q Quantity, t Time, m MicroTime,
# o IntOrString, j JSON kept as it is, *T pointer, [T list, {T map, or a struct's number.
# A line that begins with @ names a group and version, and its kinds with their structs.
`

// leafTypes have their own codes: they are serialised by functions, not field by field.
var leafTypes = map[reflect.Type]string{
	reflect.TypeFor[resource.Quantity]():    "q",
	reflect.TypeFor[metav1.Time]():          "t",
	reflect.TypeFor[metav1.MicroTime]():     "m",
	reflect.TypeFor[intstr.IntOrString]():   "o",
	reflect.TypeFor[runtime.RawExtension](): "j",
	reflect.TypeFor[metav1.FieldsV1]():      "j",
	reflect.TypeFor[[]byte]():               "y",
}

var kindCodes = map[reflect.Kind]string{
	reflect.String: "s", reflect.Bool: "b", reflect.Int32: "i", reflect.Int64: "l",
}

var (
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()
	marshaler   = reflect.TypeFor[json.Marshaler]()
	object      = reflect.TypeFor[metav1.Object]()
)

// table collects the lines of structs; those with equal fields share one.
type table struct {
	lines   []string
	numbers map[string]int
	known   map[reflect.Type]string
}

// describe writes the table of all kinds that normalisation converts: the objects of the scheme.
func describe() (string, error) {
	types := table{numbers: map[string]int{}, known: map[reflect.Type]string{}}
	versions := scheme.Scheme.PrioritizedVersionsAllGroups()
	slices.SortFunc(versions, func(a, b schema.GroupVersion) int { return strings.Compare(a.String(), b.String()) })
	var kinds strings.Builder
	for _, version := range versions {
		known := scheme.Scheme.KnownTypes(version)
		line := "@" + version.String()
		for _, kind := range slices.Sorted(maps.Keys(known)) {
			if !reflect.PointerTo(known[kind]).Implements(object) {
				continue
			}
			code, err := types.code(known[kind])
			if err != nil {
				return "", err
			}
			line += " " + kind + "=" + code
		}
		kinds.WriteString(line + "\n")
	}
	head := fmt.Sprintf(header, versionOf("k8s.io/api"), versionOf("github.com/fluxcd/pkg/ssa"))
	return head + strings.Join(types.lines, "\n") + "\n" + kinds.String(), nil
}

func versionOf(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if dependency.Path == module {
				return dependency.Version
			}
		}
	}
	return "unknown"
}

// code is the notation of a type in the table. A type that does not follow the converter's general rules is an error: the
// reader of the table could not interpret it.
func (t *table) code(goType reflect.Type) (string, error) {
	if code, ok := leafTypes[goType]; ok {
		return code, nil
	}
	if code, ok := kindCodes[goType.Kind()]; ok && !hasMethods(goType) {
		return code, nil
	}
	prefix := map[reflect.Kind]string{reflect.Pointer: "*", reflect.Slice: "[", reflect.Map: "{"}[goType.Kind()]
	if prefix != "" {
		if goType.Kind() == reflect.Map && goType.Key().Kind() != reflect.String {
			return "", fmt.Errorf("%v: the keys are not text", goType)
		}
		code, err := t.code(goType.Elem())
		return prefix + code, err
	}
	if goType.Kind() != reflect.Struct || hasMethods(goType) {
		return "", fmt.Errorf("%v: there is no code for it", goType)
	}
	return t.structure(goType)
}

func hasMethods(goType reflect.Type) bool {
	pointer := reflect.PointerTo(goType)
	return pointer.Implements(unmarshaler) || pointer.Implements(marshaler)
}

// structure is the number of a struct, in order of completion: a struct comes after those that it uses.
func (t *table) structure(goType reflect.Type) (string, error) {
	if code, ok := t.known[goType]; ok {
		if code == "" {
			return "", fmt.Errorf("%v holds itself", goType)
		}
		return code, nil
	}
	t.known[goType] = ""
	fields, err := t.fields(goType)
	if err != nil {
		return "", err
	}
	slices.Sort(fields)
	for i := 1; i < len(fields); i++ {
		if name(fields[i]) == name(fields[i-1]) {
			return "", fmt.Errorf("%v has two fields %s", goType, name(fields[i]))
		}
	}
	line := strings.Join(fields, " ")
	number, ok := t.numbers[line]
	if !ok {
		number = len(t.lines)
		t.numbers[line] = number
		t.lines = append(t.lines, line)
	}
	t.known[goType] = strconv.Itoa(number)
	return t.known[goType], nil
}

func name(field string) string {
	return field[:strings.IndexAny(field, "?!=")]
}

// fields returns the fields of a struct and of the structs that it inlines.
func (t *table) fields(goType reflect.Type) ([]string, error) {
	var fields []string
	for i := range goType.NumField() {
		field := goType.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" && field.Anonymous && field.Type.Kind() == reflect.Struct && !hasMethods(field.Type) {
			inlined, err := t.fields(field.Type)
			if err != nil {
				return nil, err
			}
			fields = append(fields, inlined...)
			continue
		}
		if name == "" || name == "-" {
			return nil, fmt.Errorf("%v.%s has no name in JSON", goType, field.Name)
		}
		left, err := leftOut(field.Type, options)
		if err != nil {
			return nil, fmt.Errorf("%v.%s: %w", goType, field.Name, err)
		}
		code, err := t.code(field.Type)
		if err != nil {
			return nil, err
		}
		fields = append(fields, name+left+"="+code)
	}
	return fields, nil
}

func leftOut(goType reflect.Type, options string) (string, error) {
	var omitEmpty, omitZero bool
	for _, option := range strings.Split(options, ",") {
		omitEmpty = omitEmpty || option == "omitempty"
		omitZero = omitZero || option == "omitzero"
	}
	switch {
	case omitZero && goType != reflect.TypeFor[metav1.Time]():
		return "", fmt.Errorf("omitzero is known for times only")
	case omitZero:
		return "!", nil
	case omitEmpty:
		return "?", nil
	}
	return "", nil
}
