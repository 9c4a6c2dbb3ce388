// Answers template cases with Go's text/template and sprig: one JSON object per line in and out.
// In: {"template": text, "values": any, "missing": "default"|"zero"|"error"}; out: {"out": text} or {"err": text}, texts
// base64-encoded. With -table FILE it writes the table of cases that shared/gotemplate/tests/language.rs reads.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/Masterminds/sprig/v3"
)

type query struct {
	Template string `json:"template"`
	Values   any    `json:"values"`
	Missing  string `json:"missing"`
	Plain    bool   `json:"plain"`
}

type answer struct {
	Out []byte `json:"out"`
	Err []byte `json:"err,omitempty"`
}

// include as Helm has it: enough to see errors pass through calls.
func functions(t *template.Template) template.FuncMap {
	f := sprig.TxtFuncMap()
	delete(f, "env")
	delete(f, "expandenv")
	f["include"] = func(name string, data any) (string, error) {
		var b strings.Builder
		err := t.ExecuteTemplate(&b, name, data)
		return b.String(), err
	}
	f["tpl"] = func(text string, data any) (string, error) {
		c, err := t.Clone()
		if err != nil {
			return "", err
		}
		c.Option("missingkey=zero")
		n, err := c.New("t").Parse(text)
		if err != nil {
			return "", err
		}
		var b strings.Builder
		err = n.Execute(&b, data)
		return b.String(), err
	}
	return f
}

func render(q query) (out string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	t := template.New("t")
	if q.Missing != "" {
		t.Option("missingkey=" + q.Missing)
	}
	if !q.Plain {
		t.Funcs(functions(t))
	}
	if _, err := t.Parse(q.Template); err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.Execute(&b, q.Values); err != nil {
		return "", err
	}
	return b.String(), nil
}

func main() {
	time.Local = time.UTC
	// A map that contains itself overflows any stack: let it be soon.
	debug.SetMaxStack(32 << 20)
	// And a template that asks for all memory is to fail here, not on the machine.
	memory := syscall.Rlimit{Cur: 4 << 30, Max: 4 << 30}
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &memory); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	table := flag.String("table", "", "file of templates, separated by ==== lines, to answer as a table")
	flag.Parse()
	if *table != "" {
		writeTable(*table)
		return
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	w := bufio.NewWriter(os.Stdout)
	dec, enc := json.NewDecoder(in), json.NewEncoder(w)
	for {
		var q query
		if dec.Decode(&q) != nil {
			return
		}
		var a answer
		out, err := render(q)
		if err != nil {
			a.Err = []byte(err.Error())
		} else {
			a.Out = []byte(out)
		}
		if enc.Encode(a) != nil || w.Flush() != nil {
			return
		}
	}
}

func writeTable(path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	values := map[string]any{
		"s": "héllo", "f": 8080.0, "big": 1000000.0, "i": -3, "t": true, "none": nil, "empty": map[string]any{},
		"l": []any{"a", 1.5, nil, true}, "m": map[string]any{"deep": "x", "nil": nil},
	}
	for _, c := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n====\n") {
		c, _, _ = strings.Cut(c, "\n----\n")
		q := query{Template: c, Values: values, Plain: true}
		if rest, ok := strings.CutPrefix(c, "ZERO "); ok {
			q.Template, q.Missing = rest, "zero"
		} else if rest, ok := strings.CutPrefix(c, "STRICT "); ok {
			q.Template, q.Missing = rest, "error"
		}
		out, err := render(q)
		if err != nil {
			out = "ERROR " + err.Error()
		}
		fmt.Printf("%s\n----\n%s\n====\n", c, out)
	}
}
