package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sigstore/cosign/v3/cmd/cosign/cli"
	"github.com/sigstore/cosign/v3/pkg/cosign"
	"github.com/sigstore/sigstore/pkg/signature"
)

// Certificates of authorities are valid in this time, so that the verdicts of the tests last.
var (
	created = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	ended   = time.Date(2125, 1, 1, 0, 0, 0, 0, time.UTC)
	// signed is when short-lived certificates were made and used.
	signed = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

type material struct {
	// Digest is of the image that everything signs that is named for no other.
	Digest string `json:"digest"`
	// Other is the digest of another image.
	Other string `json:"other"`
	// Keys are public keys, PEM.
	Keys map[string]string `json:"keys"`
	// Classic are manifests with their layers as they are at the tag `sha256-….sig`.
	Classic map[string]classic `json:"classic"`
	// Bundles are Sigstore bundles.
	Bundles map[string]string `json:"bundles"`
	// Roots are trusted roots.
	Roots    map[string]string `json:"roots"`
	Notation notationMaterial  `json:"notation"`
}

type classic struct {
	Manifest string  `json:"manifest"`
	Layers   []layer `json:"layers"`
}

func makeMaterial() (*material, error) {
	m := &material{
		Keys: map[string]string{}, Classic: map[string]classic{}, Bundles: map[string]string{}, Roots: map[string]string{},
	}
	if err := m.keyed(); err != nil {
		return nil, fmt.Errorf("keyed: %w", err)
	}
	if err := m.keyless(); err != nil {
		return nil, fmt.Errorf("keyless: %w", err)
	}
	if err := m.notation(); err != nil {
		return nil, fmt.Errorf("notation: %w", err)
	}
	return m, nil
}

func privateKeys() (map[string]crypto.Signer, error) {
	keys := map[string]crypto.Signer{}
	for name, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521(), "stranger": elliptic.P256()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			return nil, err
		}
		keys[name] = key
	}
	for name, bits := range map[string]int{"rsa2048": 2048, "rsa4096": 4096} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			return nil, err
		}
		keys[name] = key
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	keys["ed25519"] = key
	return keys, err
}

// keyed signs with `cosign sign --key`, in both formats.
func (m *material) keyed() error {
	folder, err := os.MkdirTemp("", "signature")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	push := func(repository string) (name.Digest, error) {
		image, err := random.Image(16, 1)
		if err != nil {
			return name.Digest{}, err
		}
		tag, err := name.NewTag(host + "/" + repository + ":v1")
		if err != nil {
			return name.Digest{}, err
		}
		digest, err := image.Digest()
		if err != nil {
			return name.Digest{}, err
		}
		return tag.Digest(digest.String()), remote.Write(tag, image)
	}
	run := func(args ...string) error {
		command := cli.New()
		command.SetArgs(args)
		command.SetOut(os.Stderr)
		return command.Execute()
	}
	os.Setenv("COSIGN_PASSWORD", "")
	config := filepath.Join(folder, "config.json")
	if err := run("signing-config", "create", "--out", config); err != nil {
		return err
	}
	image, err := push("app/image")
	if err != nil {
		return err
	}
	other, err := push("app/image")
	if err != nil {
		return err
	}
	m.Digest, m.Other = image.DigestStr(), other.DigestStr()
	keys, err := privateKeys()
	if err != nil {
		return err
	}
	sign := func(key, as string, image name.Digest) error {
		signing := []string{"sign", "--key", key, "-y", "--allow-http-registry"}
		old := append(signing, "--tlog-upload=false", "--use-signing-config=false", "--new-bundle-format=false", image.String())
		if err := run(old...); err != nil {
			return fmt.Errorf("old format: %w", err)
		}
		manifest, err := m.readClassic(image)
		if err != nil {
			return err
		}
		m.Classic[as] = manifest
		before, err := referrers(image)
		if err != nil {
			return err
		}
		if err := run(append(signing, "--signing-config", config, image.String())...); err != nil {
			// cosign 3.0 does not verify its own bundles with Ed25519 keys.
			if as == "ed25519" {
				return nil
			}
			return fmt.Errorf("bundle: %w", err)
		}
		after, err := referrers(image)
		if err != nil {
			return err
		}
		for digest, bundle := range after {
			if _, ok := before[digest]; !ok {
				m.Bundles[as] = bundle
			}
		}
		return nil
	}
	for name, key := range keys {
		raw, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		path := filepath.Join(folder, name+".pem")
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600); err != nil {
			return err
		}
		imported, err := cosign.ImportKeyPair(path, func(bool) ([]byte, error) { return nil, nil })
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		path = filepath.Join(folder, name+".key")
		if err := os.WriteFile(path, imported.PrivateBytes, 0o600); err != nil {
			return err
		}
		m.Keys[name] = string(imported.PublicBytes)
		if m.Classic["older-"+name], err = m.older(key); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		// Each in a repository of its own, so that its manifest has one layer.
		to, err := copyTo(image, host+"/"+name+"/image")
		if err != nil {
			return err
		}
		if err := sign(path, name, to); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	// The replayed signature, and a manifest with two layers.
	if err := sign(filepath.Join(folder, "p256.key"), "other-image", other); err != nil {
		return err
	}
	to, err := copyTo(image, host+"/two/image")
	if err != nil {
		return err
	}
	for _, key := range []string{"stranger", "p256"} {
		if err := sign(filepath.Join(folder, key+".key"), "two", to); err != nil {
			return err
		}
	}
	return nil
}

// older is a signature as cosign made it before its third version: with SHA-256, whatever the key.
func (m *material) older(key crypto.Signer) (classic, error) {
	signer, err := signature.LoadSigner(key, crypto.SHA256)
	if err != nil {
		return classic{}, err
	}
	payload := simplePayload(m.Digest)
	sig, err := signer.SignMessage(bytes.NewReader(payload))
	return classic{Layers: []layer{{Payload: payload, Annotations: map[string]string{
		"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig),
	}}}}, err
}

func copyTo(image name.Digest, repository string) (name.Digest, error) {
	got, err := remote.Image(image)
	if err != nil {
		return name.Digest{}, err
	}
	tag, err := name.NewTag(repository + ":v1")
	if err != nil {
		return name.Digest{}, err
	}
	return tag.Digest(image.DigestStr()), remote.Write(tag, got)
}

func (m *material) readClassic(image name.Digest) (classic, error) {
	tag := image.Context().Tag(strings.Replace(image.DigestStr(), ":", "-", 1) + ".sig")
	signatures, err := remote.Image(tag)
	if err != nil {
		return classic{}, err
	}
	raw, err := signatures.RawManifest()
	if err != nil {
		return classic{}, err
	}
	manifest, err := signatures.Manifest()
	if err != nil {
		return classic{}, err
	}
	found := classic{Manifest: string(raw)}
	for _, descriptor := range manifest.Layers {
		payload, err := blob(signatures, descriptor.Digest)
		if err != nil {
			return classic{}, err
		}
		found.Layers = append(found.Layers, layer{Payload: payload, Annotations: descriptor.Annotations})
	}
	return found, nil
}

func blob(image v1.Image, digest v1.Hash) ([]byte, error) {
	content, err := image.LayerByDigest(digest)
	if err != nil {
		return nil, err
	}
	reader, err := content.Compressed()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	return io.ReadAll(reader)
}

// referrers are the bundles of an image, by the digest of their manifest.
func referrers(image name.Digest) (map[string]string, error) {
	index, err := remote.Referrers(image)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, descriptor := range manifest.Manifests {
		referrer, err := remote.Image(image.Context().Digest(descriptor.Digest.String()))
		if err != nil {
			return nil, err
		}
		inner, err := referrer.Manifest()
		if err != nil {
			return nil, err
		}
		bundle, err := blob(referrer, inner.Layers[0].Digest)
		if err != nil {
			return nil, err
		}
		found[descriptor.Digest.String()] = string(bundle)
	}
	return found, nil
}

// authority is a certificate with its key.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
	parent      *authority
}

var serial = int64(1000)

func issue(parent *authority, key crypto.Signer, template *x509.Certificate) (*authority, error) {
	if key == nil {
		made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		key = made
	}
	if template.SerialNumber == nil {
		serial++
		template.SerialNumber = big.NewInt(serial)
	}
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = created, ended
	}
	signer, issuer := key, template
	if parent != nil {
		signer, issuer = parent.key, parent.certificate
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(raw)
	return &authority{certificate: certificate, key: key, parent: parent}, err
}

func subject(common string) pkix.Name {
	return pkix.Name{CommonName: common, Organization: []string{"Example"}, Province: []string{"WA"}, Country: []string{"US"}}
}

func ca(common string) *x509.Certificate {
	return &x509.Certificate{
		Subject: subject(common), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}))
}

// logID is the id of a log by RFC 6962: the digest of its key.
func logID(key crypto.PublicKey) ([]byte, error) {
	raw, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	return sum[:], nil
}

// timestampAuthority is a certificate that may sign RFC 3161 timestamps, and its root.
func timestampAuthority(common string, key crypto.Signer) (*authority, error) {
	root, err := issue(nil, nil, ca(common+" root"))
	if err != nil {
		return nil, err
	}
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		return nil, err
	}
	return issue(root, key, &x509.Certificate{
		Subject:         subject(common),
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	})
}

func (a *authority) stamp(message []byte, at time.Time) ([]byte, error) {
	request, err := timestamp.CreateRequest(bytes.NewReader(message), &timestamp.RequestOptions{Hash: crypto.SHA256, Certificates: true})
	if err != nil {
		return nil, err
	}
	parsed, err := timestamp.ParseRequest(request)
	if err != nil {
		return nil, err
	}
	template := timestamp.Timestamp{
		HashAlgorithm:     parsed.HashAlgorithm,
		HashedMessage:     parsed.HashedMessage,
		Time:              at,
		Policy:            asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2},
		Certificates:      []*x509.Certificate{a.parent.certificate},
		AddTSACertificate: true,
		Accuracy:          time.Second,
	}
	return template.CreateResponseWithOpts(a.certificate, a.key, crypto.SHA256)
}

// stampDigest is as stamp, for what is hashed already.
func (a *authority) stampDigest(digest []byte, nonce *big.Int, at time.Time) ([]byte, error) {
	template := timestamp.Timestamp{
		HashAlgorithm: crypto.SHA256, HashedMessage: digest, Nonce: nonce, Time: at, Accuracy: time.Second,
		Policy:            asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2},
		Certificates:      []*x509.Certificate{a.parent.certificate},
		AddTSACertificate: true,
	}
	return template.CreateResponseWithOpts(a.certificate, a.key, crypto.SHA256)
}

func digestHex(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

var background = context.Background()
