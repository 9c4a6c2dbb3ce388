// Command cel answers with the values of CEL expressions, or why they have none, as cel-go and the texts of Flux say it.
package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/ext"

	"flux.local/oracle/serve"
)

// request is an expression and what it is used for: with variables or an output type its types are checked.
type request struct {
	Expression string   `json:"expression"`
	Compile    bool     `json:"compile"`
	Variables  []string `json:"variables"`
	Output     string   `json:"output"`
	Data       string   `json:"data"`
	As         string   `json:"as"`
}

func main() {
	serve.Run(serve.Modes{"evaluate": serve.Typed(evaluate)})
}

var outputs = map[string]*cel.Type{"bool": cel.BoolType, "string": cel.StringType, "int": cel.IntType}

func evaluate(r request) (any, error) {
	options := []cel.EnvOption{
		cel.HomogeneousAggregateLiterals(),
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		ext.Strings(),
		ext.Sets(),
		ext.Encoders(),
	}
	for _, name := range r.Variables {
		options = append(options, cel.Variable(name, cel.ObjectType("google.protobuf.Struct")))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, err
	}
	read := env.Parse
	if r.Compile {
		read = env.Compile
	}
	tree, issues := read(r.Expression)
	if issues != nil {
		return nil, fmt.Errorf("failed to parse the CEL expression '%s': %s", r.Expression, issues.String())
	}
	if wanted, ok := outputs[r.Output]; ok && wanted != tree.OutputType() {
		return nil, fmt.Errorf("CEL expression output type mismatch: expected %s, got %s", wanted, tree.OutputType())
	}
	program, err := env.Program(tree, cel.EvalOptions(cel.OptOptimize), cel.InterruptCheckFrequency(100))
	if err != nil {
		return nil, fmt.Errorf("failed to create CEL program: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(r.Data)))
	decoder.UseNumber()
	data := map[string]any{}
	if err := decoder.Decode(&data); err != nil {
		return nil, err
	}
	value, _, err := program.ContextEval(context.Background(), numbers(data).(map[string]any))
	if err != nil {
		return nil, fmt.Errorf("failed to evaluate the CEL expression '%s': %w", r.Expression, err)
	}
	switch r.As {
	case "bool":
		if _, ok := value.(types.Bool); !ok {
			return nil, fmt.Errorf("failed to evaluate CEL expression as boolean: '%s'", r.Expression)
		}
	case "string":
		if _, ok := value.(types.String); !ok {
			return nil, fmt.Errorf("failed to evaluate CEL expression as string: '%s'", r.Expression)
		}
	case "strings":
		if _, err := value.ConvertToNative(reflect.TypeFor[[]string]()); err != nil {
			return nil, fmt.Errorf("failed to evaluate CEL expression '%s' as []string: %w", r.Expression, err)
		}
	}
	return shown(value), nil
}

// numbers makes integers of the numbers that are, as objects read from Kubernetes have them.
func numbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	case map[string]any:
		for key := range v {
			v[key] = numbers(v[key])
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	}
	return value
}

// shown is a value with its type, as text.
func shown(value ref.Val) string {
	switch v := value.(type) {
	case types.Null:
		return "null"
	case types.Bool:
		return fmt.Sprint(bool(v))
	case types.Int:
		return fmt.Sprint(int64(v))
	case types.Uint:
		return fmt.Sprint(uint64(v)) + "u"
	case types.Double:
		return "double " + strconv.FormatFloat(float64(v), 'g', -1, 64)
	case types.String:
		quoted, _ := json.Marshal(string(v))
		return string(quoted)
	case types.Bytes:
		return "bytes " + hex.EncodeToString(v)
	case types.Duration:
		return "duration " + fmt.Sprint(int64(v.Duration))
	case types.Timestamp:
		return "timestamp " + v.Time.Format(time.RFC3339Nano)
	case *types.Type:
		return "type " + v.TypeName()
	case *types.Optional:
		if v.HasValue() {
			return "some " + shown(v.GetValue())
		}
		return "none"
	case traits.Lister:
		text := "["
		for it := v.Iterator(); it.HasNext() == types.True; {
			text += shown(it.Next()) + ","
		}
		return text + "]"
	case traits.Mapper:
		entries := []string{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			entries = append(entries, shown(key)+":"+shown(v.Get(key))+",")
		}
		sort.Strings(entries)
		text := "{"
		for _, entry := range entries {
			text += entry
		}
		return text + "}"
	}
	return fmt.Sprintf("%T", value)
}
