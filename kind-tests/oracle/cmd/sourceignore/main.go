// Command sourceignore answers which paths the matcher of github.com/fluxcd/pkg/sourceignore excludes.
package main

import (
	"bytes"
	"strings"

	"github.com/fluxcd/pkg/sourceignore"
	"github.com/fluxcd/pkg/sourceignore/gitignore"

	"flux.local/oracle/serve"
)

type file struct {
	Scope []byte `json:"scope"`
	Text  []byte `json:"text"`
}

type request struct {
	Files []file `json:"files"`
	// Paths that end in a slash are folders.
	Paths [][]byte `json:"paths"`
}

func main() {
	serve.Run(serve.Modes{"excluded": serve.Typed(excluded)})
}

// excluded returns the indices of the excluded paths.
func excluded(r request) (any, error) {
	var patterns []gitignore.Pattern
	for _, f := range r.Files {
		patterns = append(patterns, sourceignore.ReadPatterns(bytes.NewReader(f.Text), split(string(f.Scope)))...)
	}
	matcher := sourceignore.NewDefaultMatcher(patterns, nil)
	if len(patterns) > 0 {
		matcher = sourceignore.NewMatcher(append(sourceignore.VCSPatterns(nil), patterns...))
	}
	found := []int{}
	for i, p := range r.Paths {
		path, isDir := strings.CutSuffix(string(p), "/")
		if matcher.Match(split(path), isDir) {
			found = append(found, i)
		}
	}
	return found, nil
}

func split(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}
