// Answers template cases with Go's text/template and sprig: one JSON object per line in and out.
// In: {"template": text, "values": any, "missing": "default"|"zero"|"error"}; out: {"out": text} or {"err": text}, texts
// base64-encoded. With -tables FILE... it rewrites the expected results in the case tables of shared/sprig/tests and
// shared/helm/tests.
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

// include as in Helm: enough to see how errors propagate through calls.
func functions(t *template.Template, missing string) template.FuncMap {
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
		// A clone loses its options.
		if missing != "" {
			c.Option("missingkey=" + missing)
		}
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
		t.Funcs(functions(t, q.Missing))
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
	// A template that allocates without limit must fail here, before the machine runs out of memory.
	memory := syscall.Rlimit{Cur: 4 << 30, Max: 4 << 30}
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &memory); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	tables := flag.Bool("tables", false, "the arguments are tables of cases to answer in place")
	flag.Parse()
	if *tables {
		for _, path := range flag.Args() {
			if err := answerTable(path); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
				os.Exit(1)
			}
		}
		return
	}
	// A map that contains itself overflows any stack: keep the limit low.
	debug.SetMaxStack(32 << 20)
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	w := bufio.NewWriter(os.Stdout)
	dec, enc := json.NewDecoder(in), json.NewEncoder(w)
	for {
		var q query
		if dec.Decode(&q) != nil {
			return
		}
		var a answer
		// Work that would take hours ends like a stack overflow.
		deadline := time.AfterFunc(10*time.Second, func() { os.Exit(3) })
		out, err := render(q)
		deadline.Stop()
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
