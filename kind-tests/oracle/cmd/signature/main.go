// Command signature asks the verifiers that upstream's source-controller is built on: cosign, sigstore-go and notation-go.
//
// With the argument "make" it instead signs everything that the tests of flux-signature verify, with the real signers,
// and prints it as one JSON document (shared/signature/tests/material.json). That document is random, so it is made
// once; the verdicts on it are answers like those of the other commands.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"flux.local/oracle/serve"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "make" {
		stdout := os.Stdout // cosign's commands replace it
		material, err := makeMaterial()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		encoder := json.NewEncoder(stdout)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", " ")
		if err := encoder.Encode(material); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	serve.Run(serve.Modes{
		"cosign":       serve.Typed(cosignClassic),
		"bundle":       serve.Typed(cosignBundle),
		"trusted-root": serve.Typed(trustedRoot),
		"notation":     serve.Typed(notationVerify),
		"policy":       serve.Typed(notationPolicy),
	})
}
