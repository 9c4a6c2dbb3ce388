// Command kustomize builds trees with kustomize, from disk and through the file system that Flux builds with.
package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/fluxcd/pkg/kustomize/filesys"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/openapi"

	"flux.local/oracle/serve"
)

// buildRequest is a tree in base64 by absolute path, and the folder to build.
type buildRequest struct {
	Files map[string]string `json:"files"`
	// Symbolic links: their targets, by absolute path.
	Links map[string]string `json:"links"`
	Dir   string            `json:"dir"`
	// Flux selects the settings of Flux's controllers.
	Flux bool `json:"flux"`
}

func main() {
	if os.Getenv("ORACLE_TRACE") == "" {
		// Warnings about deprecated fields would be a line for each of thousands of builds.
		log.SetOutput(io.Discard)
		if sink, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
			os.Stderr = sink
		}
	}
	serve.Run(serve.Modes{"build": serve.Typed(build)})
}

// build returns paths as if the tree were the whole file system.
func build(r buildRequest) (any, error) {
	outside, err := os.MkdirTemp("", "oracle-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(outside)
	if outside, err = filepath.EvalSymlinks(outside); err != nil {
		return nil, err
	}
	root := filepath.Join(outside, "root")
	defer func() {
		if p := recover(); p != nil {
			if failure, ok := p.(error); ok {
				p = failure.Error()
			}
			if text, ok := p.(string); ok {
				p = rootless(text, root)
			}
			panic(p)
		}
	}()
	usesSchema, err := write(r, root)
	if err != nil {
		return nil, err
	}
	output, err := run(r, root, usesSchema)
	if err != nil {
		return nil, errors.New(rootless(err.Error(), root))
	}
	return output, nil
}

// Meaningless parts of messages: addresses of values in memory.
var (
	addresses = regexp.MustCompile(` &\{0x[0-9a-f]{8,} (<nil>|0x[0-9a-f]{8,})\}`)
	address   = regexp.MustCompile("0x[0-9a-f]{8,}")
	// The whole table of field specs, over four screens.
	config = regexp.MustCompile(`(?s)merging config &\{.*?\}: failed to merge`)
)

func rootless(text, root string) string {
	text = addresses.ReplaceAllString(text, "")
	// Go's newer JSON decoder chooses this wording by the hash of the program.
	text = strings.ReplaceAll(text, "json: unable to unmarshal", "json: cannot unmarshal")
	text = config.ReplaceAllString(text, "merging config: failed to merge")
	text = address.ReplaceAllString(text, "0xADDR")
	text = strings.ReplaceAll(text, root+"/", "/")
	text = strings.ReplaceAll(text, root, "/")
	return strings.ReplaceAll(text, filepath.Dir(root), "/outside")
}

// write reports whether a file may refer to a custom schema.
func write(r buildRequest, root string) (bool, error) {
	usesSchema := false
	if err := os.MkdirAll(root, 0o755); err != nil {
		return false, err
	}
	for path, content := range r.Files {
		text, err := base64.StdEncoding.DecodeString(content)
		if err != nil {
			return false, err
		}
		usesSchema = usesSchema || bytes.Contains(bytes.ToLower(text), []byte("openapi"))
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return false, err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return false, err
		}
	}
	for path, target := range r.Links {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return false, err
		}
		if err := os.Symlink(target, path); err != nil {
			return false, err
		}
	}
	return usesSchema, nil
}

func run(r buildRequest, root string, usesSchema bool) (string, error) {
	// Reading the built-in schema takes longer than most builds, so it is kept unless a build can have changed it.
	if usesSchema {
		openapi.ResetOpenAPI()
		defer openapi.ResetOpenAPI()
	}
	fs, err := filesys.MakeFsOnDiskSecureBuild(root)
	if err != nil {
		return "", err
	}
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionNone
	if r.Flux {
		options.LoadRestrictions = types.LoadRestrictionsNone
		_ = openapi.Schema()
	}
	resources, err := krusty.MakeKustomizer(options).Run(fs, filepath.Join(root, r.Dir))
	if err != nil {
		return "", err
	}
	yaml, err := resources.AsYaml()
	return string(yaml), err
}
