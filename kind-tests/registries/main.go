// Command registry is an OCI registry in memory, on a free port of 127.0.0.1, which it prints. It ends with its input.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

func main() {
	referrers := flag.Bool("referrers", true, "whether the registry keeps lists of referrers")
	page := flag.Int("page", 0, "the most tags of a page, if not zero")
	flag.Parse()
	config := ocimem.Config{LaxChildReferences: true}
	registry := ociserver.New(ocimem.NewWithConfig(&config), &ociserver.Options{DisableReferrersAPI: !*referrers})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if *page > 0 && strings.HasSuffix(r.URL.Path, "/tags/list") {
			query := r.URL.Query()
			if n, err := strconv.Atoi(query.Get("n")); err != nil || n > *page {
				query.Set("n", strconv.Itoa(*page))
				r.URL.RawQuery = query.Encode()
			}
		}
		registry.ServeHTTP(w, r)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(http.Serve(listener, handler))
}
