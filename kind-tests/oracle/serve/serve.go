// Package serve answers requests, one JSON document a line, so that tests can compare with the real libraries.
//
// A request is {"mode": "...", ...}; the whole line is passed to the mode's handler. An answer is
// {"output": ...}, {"error": "..."} or {"panic": "..."}, in the order of the requests.
package serve

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
)

// Handler answers one request.
type Handler func(request json.RawMessage) (any, error)

// Modes maps a request's mode to its handler.
type Modes map[string]Handler

type answer struct {
	Output any    `json:"output,omitempty"`
	Error  string `json:"error,omitempty"`
	Failed bool   `json:"failed,omitempty"`
	Panic  string `json:"panic,omitempty"`
}

// Run answers requests until standard input ends. A line holds at most 256 MiB.
func Run(modes Modes) {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	scanner := bufio.NewScanner(in)
	scanner.Buffer(make([]byte, 1<<20), 256<<20)
	for scanner.Scan() {
		if err := encoder.Encode(respond(modes, scanner.Bytes())); err != nil {
			fmt.Fprintln(os.Stderr, "cannot answer:", err)
			os.Exit(1)
		}
		if err := out.Flush(); err != nil {
			os.Exit(1)
		}
	}
	if err := scanner.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot read requests:", err)
		os.Exit(1)
	}
}

func respond(modes Modes, line []byte) (result answer) {
	defer func() {
		if r := recover(); r != nil {
			if os.Getenv("ORACLE_TRACE") != "" {
				debug.PrintStack()
			}
			result = answer{Panic: fmt.Sprint(r), Failed: true}
		}
	}()
	var head struct {
		Mode string `json:"mode"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return answer{Error: "malformed request: " + err.Error(), Failed: true}
	}
	handler, ok := modes[head.Mode]
	if !ok {
		return answer{Error: fmt.Sprintf("no mode %q", head.Mode), Failed: true}
	}
	output, err := handler(line)
	if err != nil {
		return answer{Error: err.Error(), Failed: true}
	}
	return answer{Output: output}
}

// Typed makes a handler from a function that takes its request as a struct.
func Typed[T any](answer func(request T) (any, error)) Handler {
	return func(raw json.RawMessage) (any, error) {
		var request T
		if err := json.Unmarshal(raw, &request); err != nil {
			return nil, fmt.Errorf("malformed request: %w", err)
		}
		return answer(request)
	}
}
