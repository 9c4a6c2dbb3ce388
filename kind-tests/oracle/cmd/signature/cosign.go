package main

import (
	"context"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/cosign/v3/pkg/cosign"
	"github.com/sigstore/cosign/v3/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v3/pkg/oci/static"
	sgbundle "github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// trust is what an OCIRepository trusts: public keys, or a trusted root with identities.
type trust struct {
	Keys       []string          `json:"keys"`
	Root       string            `json:"root"`
	Identities []cosign.Identity `json:"identities"`
}

// options are set as source-controller sets them, with the claim verifier of `cosign verify`.
func (t trust) options() ([]*cosign.CheckOpts, error) {
	if len(t.Keys) == 0 {
		trusted, err := root.NewTrustedRootFromJSON([]byte(t.Root))
		if err != nil {
			return nil, fmt.Errorf("unable to parse trusted root: %w", err)
		}
		return []*cosign.CheckOpts{{
			ClaimVerifier:   cosign.SimpleClaimVerifier,
			TrustedMaterial: trusted,
			Identities:      t.Identities,
		}}, nil
	}
	var all []*cosign.CheckOpts
	for _, pem := range t.Keys {
		key, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(pem))
		if err != nil {
			return nil, err
		}
		verifier, err := signature.LoadVerifier(key, crypto.SHA256)
		if err != nil {
			return nil, err
		}
		all = append(all, &cosign.CheckOpts{
			ClaimVerifier: cosign.SimpleClaimVerifier,
			SigVerifier:   verifier,
			Offline:       true,
			IgnoreTlog:    true,
		})
	}
	return all, nil
}

type layer struct {
	Payload     []byte            `json:"payload"`
	Annotations map[string]string `json:"annotations"`
}

type classicRequest struct {
	trust
	Digest string  `json:"digest"`
	Layers []layer `json:"layers"`
}

// cosignClassic verifies layers of a `.sig` manifest: one that verifies with one key suffices.
func cosignClassic(r classicRequest) (any, error) {
	all, err := r.options()
	if err != nil {
		return nil, err
	}
	digest, err := v1.NewHash(r.Digest)
	if err != nil {
		return nil, err
	}
	var problems []string
	for _, opts := range all {
		for _, l := range r.Layers {
			err := func() error {
				var options []static.Option
				if cert := l.Annotations[static.CertificateAnnotationKey]; cert != "" {
					options = append(options, static.WithCertChain([]byte(cert), []byte(l.Annotations[static.ChainAnnotationKey])))
				}
				if text := l.Annotations[static.BundleAnnotationKey]; text != "" {
					var b bundle.RekorBundle
					if err := json.Unmarshal([]byte(text), &b); err != nil {
						return err
					}
					options = append(options, static.WithBundle(&b))
				}
				sig, err := static.NewSignature(l.Payload, l.Annotations[static.SignatureAnnotationKey], options...)
				if err != nil {
					return err
				}
				_, err = cosign.VerifyImageSignature(context.Background(), sig, digest, opts)
				return err
			}()
			if err == nil {
				return "verified", nil
			}
			problems = append(problems, err.Error())
		}
	}
	return nil, errors.New(strings.Join(problems, "\n"))
}

type bundleRequest struct {
	trust
	Digest string `json:"digest"`
	Bundle string `json:"bundle"`
}

// cosignBundle verifies a Sigstore bundle against the digest of the artifact.
func cosignBundle(r bundleRequest) (any, error) {
	all, err := r.options()
	if err != nil {
		return nil, err
	}
	digest, err := v1.NewHash(r.Digest)
	if err != nil {
		return nil, err
	}
	raw, err := hex.DecodeString(digest.Hex)
	if err != nil {
		return nil, err
	}
	var b sgbundle.Bundle
	if err := b.UnmarshalJSON([]byte(r.Bundle)); err != nil {
		return nil, err
	}
	var problems []string
	for _, opts := range all {
		_, err := cosign.VerifyNewBundle(context.Background(), opts, verify.WithArtifactDigest(digest.Algorithm, raw), &b)
		if err == nil {
			return "verified", nil
		}
		problems = append(problems, err.Error())
	}
	return nil, errors.New(strings.Join(problems, "\n"))
}

type rootRequest struct {
	Root string `json:"root"`
}

// trustedRoot reads a trusted root, and returns how much of what it has.
func trustedRoot(r rootRequest) (any, error) {
	trusted, err := root.NewTrustedRootFromJSON([]byte(r.Root))
	if err != nil {
		return nil, err
	}
	return []int{
		len(trusted.FulcioCertificateAuthorities()), len(trusted.CTLogs()),
		len(trusted.RekorLogs()), len(trusted.TimestampingAuthorities()),
	}, nil
}
