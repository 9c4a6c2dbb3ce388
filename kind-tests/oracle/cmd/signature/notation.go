package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/notaryproject/notation-core-go/revocation"
	crlutil "github.com/notaryproject/notation-core-go/revocation/crl"
	"github.com/notaryproject/notation-core-go/revocation/purpose"
	_ "github.com/notaryproject/notation-core-go/signature/cose"
	_ "github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

type signatureBlob struct {
	MediaType string `json:"mediaType"`
	Blob      []byte `json:"blob"`
}

type notationRequest struct {
	Policy       string             `json:"policy"`
	Certificates [][]byte           `json:"certificates"`
	Reference    string             `json:"reference"`
	Artifact     ocispec.Descriptor `json:"artifact"`
	Signatures   []signatureBlob    `json:"signatures"`
	// Responses of OCSP and CRL servers by URL; a URL that is not here cannot be reached.
	Responses map[string][]byte `json:"responses"`
}

// certificates is the trust store of source-controller: all certificates, whatever the store's name and type.
type certificates [][]byte

func (c certificates) GetCertificates(_ context.Context, _ truststore.Type, name string) ([]*x509.Certificate, error) {
	all := []*x509.Certificate{}
	for _, raw := range c {
		if block, _ := pem.Decode(raw); block != nil {
			raw = block.Bytes
		}
		parsed, err := x509.ParseCertificates(raw)
		if err != nil {
			return nil, fmt.Errorf("failed to parse certificate '%s': %s", name, err)
		}
		all = append(all, parsed...)
	}
	return all, nil
}

// responder answers HTTP requests from what the test has recorded.
type responder map[string][]byte

func (r responder) RoundTrip(request *http.Request) (*http.Response, error) {
	for url, body := range r {
		if request.URL.String() == url || request.Method == http.MethodGet && len(request.URL.String()) > len(url) && request.URL.String()[:len(url)] == url {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body)), Header: http.Header{}, Request: request}, nil
		}
	}
	return nil, errors.New("no such host")
}

// repository is the registry that holds the signatures.
type repository struct{ request notationRequest }

func (r repository) Resolve(context.Context, string) (ocispec.Descriptor, error) {
	return r.request.Artifact, nil
}

func (r repository) ListSignatures(_ context.Context, _ ocispec.Descriptor, each func([]ocispec.Descriptor) error) error {
	var all []ocispec.Descriptor
	for _, s := range r.request.Signatures {
		all = append(all, ocispec.Descriptor{MediaType: s.MediaType, Digest: digest.FromBytes(s.Blob), Size: int64(len(s.Blob))})
	}
	return each(all)
}

func (r repository) FetchSignatureBlob(_ context.Context, desc ocispec.Descriptor) ([]byte, ocispec.Descriptor, error) {
	for _, s := range r.request.Signatures {
		if digest.FromBytes(s.Blob) == desc.Digest {
			return s.Blob, desc, nil
		}
	}
	return nil, ocispec.Descriptor{}, errors.New("not found")
}

func (r repository) PushSignature(context.Context, string, []byte, ocispec.Descriptor, map[string]string) (ocispec.Descriptor, ocispec.Descriptor, error) {
	return ocispec.Descriptor{}, ocispec.Descriptor{}, errors.New("read only")
}

// document reads a policy as source-controller does: statements that skip lose their stores and identities.
func document(text string) (*trustpolicy.Document, error) {
	var policy trustpolicy.Document
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		return nil, fmt.Errorf("error occurred while parsing trustpolicy.json: %w", err)
	}
	for i, statement := range policy.TrustPolicies {
		if statement.SignatureVerification.VerificationLevel == trustpolicy.LevelSkip.Name {
			policy.TrustPolicies[i].TrustStores = []string{}
			policy.TrustPolicies[i].TrustedIdentities = []string{}
		}
	}
	return &policy, nil
}

// notationVerify verifies as source-controller does. The output is `verified` or `ignored`.
func notationVerify(r notationRequest) (any, error) {
	policy, err := document(r.Policy)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: responder(r.Responses)}
	fetcher, err := crlutil.NewHTTPFetcher(client)
	if err != nil {
		return nil, err
	}
	validator := func(p purpose.Purpose) (revocation.Validator, error) {
		return revocation.NewWithOptions(revocation.Options{OCSPHTTPClient: client, CRLFetcher: fetcher, CertChainPurpose: p})
	}
	signing, err := validator(purpose.CodeSigning)
	if err != nil {
		return nil, err
	}
	timestamping, err := validator(purpose.Timestamping)
	if err != nil {
		return nil, err
	}
	v, err := verifier.NewWithOptions(policy, certificates(r.Certificates), nil, verifier.VerifierOptions{
		RevocationCodeSigningValidator:  signing,
		RevocationTimestampingValidator: timestamping,
	})
	if err != nil {
		return nil, err
	}
	_, outcomes, err := notation.Verify(context.Background(), v, repository{r}, notation.VerifyOptions{
		ArtifactReference:    r.Reference,
		MaxSignatureAttempts: 3,
	})
	if err != nil {
		return nil, err
	}
	if len(outcomes) == 0 {
		return nil, fmt.Errorf("signature verification failed for all the signatures associated with %s", r.Reference)
	}
	if outcomes[0].VerificationLevel == trustpolicy.LevelSkip {
		return "ignored", nil
	}
	for _, result := range outcomes[0].VerificationResults {
		if result.Error != nil && result.Type == trustpolicy.TypeAuthenticity {
			return "ignored", nil
		}
	}
	return "verified", nil
}

type policyRequest struct {
	Policy    string `json:"policy"`
	Reference string `json:"reference"`
}

// notationPolicy validates a policy, and returns the statement for a reference.
func notationPolicy(r policyRequest) (any, error) {
	policy, err := document(r.Policy)
	if err != nil {
		return nil, err
	}
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	statement, err := policy.GetApplicableTrustPolicy(r.Reference)
	if err != nil {
		return nil, err
	}
	level, err := statement.SignatureVerification.GetVerificationLevel()
	if err != nil {
		return nil, err
	}
	return []any{statement.Name, level.Name, level.Enforcement}, nil
}
