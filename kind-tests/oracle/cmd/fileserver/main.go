// Command fileserver answers with the bytes that Go's http.FileServer, behind a mux as in source-controller, returns for
// a request.
package main

import (
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"flux.local/oracle/serve"
)

type file struct {
	Path    string `json:"path"`
	Content []byte `json:"content"`
	// In milliseconds since the epoch.
	Modified int64 `json:"modified"`
}

type request struct {
	Files []file `json:"files"`
	// The requests, each sent over a separate connection.
	Requests [][]byte `json:"requests"`
}

func main() {
	log.SetOutput(io.Discard)
	// As in an image without MIME type tables, where the type is detected from the content.
	if err := mime.AddExtensionType(".gz", "application/x-gzip"); err != nil {
		log.Fatal(err)
	}
	serve.Run(serve.Modes{"answers": serve.Typed(answers)})
}

// answers returns the response to each request, up to the closing of the connection.
func answers(r request) (any, error) {
	root, err := os.MkdirTemp("", "fileserver")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(root)
	for _, f := range r.Files {
		path := filepath.Join(root, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, f.Content, 0o644); err != nil {
			return nil, err
		}
		modified := time.UnixMilli(f.Modified)
		for ; len(path) >= len(root); path = filepath.Dir(path) {
			if err := os.Chtimes(path, modified, modified); err != nil {
				return nil, err
			}
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir(root)))
	server := http.Server{Handler: mux}
	go server.Serve(listener)
	defer server.Close()
	found := [][]byte{}
	for _, sent := range r.Requests {
		answer, err := ask(listener.Addr().String(), sent)
		if err != nil {
			return nil, err
		}
		found = append(found, answer)
	}
	return found, nil
}

func ask(address string, sent []byte) ([]byte, error) {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	if _, err := connection.Write(sent); err != nil {
		return nil, err
	}
	return io.ReadAll(connection)
}
