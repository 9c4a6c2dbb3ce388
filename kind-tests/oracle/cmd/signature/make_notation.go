package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
	"time"

	coresignature "github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/signer"
	"github.com/notaryproject/tspclient-go"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/crypto/ocsp"
)

type notationMaterial struct {
	// Certificates of authorities, PEM.
	Certificates map[string]string `json:"certificates"`
	// Chains that are not in a signature as they are, leaf first, DER.
	Chains     map[string][][]byte      `json:"chains"`
	Signatures map[string]signatureBlob `json:"signatures"`
	// Responses of OCSP and CRL servers.
	Responses map[string][]byte `json:"responses"`
}

const (
	ocspURL = "http://ocsp.example.com"
	crlURL  = "http://crl.example.com/ca.crl"
)

func descriptor(d string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(d), Size: 528}
}

func signingLeaf(common string) *x509.Certificate {
	return &x509.Certificate{
		Subject: subject(common), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
}

func (a *authority) chain() []*x509.Certificate {
	var all []*x509.Certificate
	for ; a != nil; a = a.parent {
		all = append(all, a.certificate)
	}
	return all
}

func (m *material) notation() error {
	n := notationMaterial{
		Certificates: map[string]string{}, Chains: map[string][][]byte{}, Signatures: map[string]signatureBlob{}, Responses: map[string][]byte{},
	}
	root, err := issue(nil, nil, ca("notation root"))
	if err != nil {
		return err
	}
	stranger, err := issue(nil, nil, ca("stranger root"))
	if err != nil {
		return err
	}
	n.Certificates["root"], n.Certificates["stranger"] = root.pem(), stranger.pem()
	keys := map[string]crypto.Signer{}
	for name, curve := range map[string]elliptic.Curve{"es256": elliptic.P256(), "es384": elliptic.P384(), "es512": elliptic.P521()} {
		if keys[name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			return err
		}
	}
	for name, bits := range map[string]int{"ps256": 2048, "ps384": 3072, "ps512": 4096} {
		if keys[name], err = rsa.GenerateKey(rand.Reader, bits); err != nil {
			return err
		}
	}
	formats := map[string]string{"jws": jws.MediaTypeEnvelope, "cose": cose.MediaTypeEnvelope}
	target := descriptor(m.Digest)
	// Signed by notation itself, with each algorithm and format.
	for algorithm, key := range keys {
		who, err := issue(root, key, signingLeaf("notation "+algorithm))
		if err != nil {
			return err
		}
		notary, err := signer.NewGenericSigner(key, who.chain())
		if err != nil {
			return err
		}
		for format, media := range formats {
			blob, _, err := notary.Sign(background, target, notation.SignerSignOptions{SignatureMediaType: media})
			if err != nil {
				return fmt.Errorf("%s %s: %w", algorithm, format, err)
			}
			n.Signatures[format+"-"+algorithm] = signatureBlob{MediaType: media, Blob: blob}
		}
	}
	// Signed by its core, which lets times and attributes be set.
	who, err := issue(root, nil, signingLeaf("notation signer"))
	if err != nil {
		return err
	}
	middle, err := issue(root, nil, ca("notation intermediate"))
	if err != nil {
		return err
	}
	below, err := issue(middle, nil, signingLeaf("notation below"))
	if err != nil {
		return err
	}
	with := func(change func(*x509.Certificate)) (*authority, error) {
		template := signingLeaf("notation signer")
		change(template)
		return issue(root, nil, template)
	}
	old, err := with(func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = created, created.AddDate(1, 0, 0)
	})
	if err != nil {
		return err
	}
	future, err := with(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = ended.AddDate(-1, 0, 0), ended })
	if err != nil {
		return err
	}
	byOCSP, err := with(func(c *x509.Certificate) { c.OCSPServer = []string{ocspURL} })
	if err != nil {
		return err
	}
	byCRL, err := with(func(c *x509.Certificate) { c.CRLDistributionPoints = []string{crlURL} })
	if err != nil {
		return err
	}
	byBoth, err := with(func(c *x509.Certificate) {
		c.OCSPServer, c.CRLDistributionPoints = []string{ocspURL}, []string{crlURL}
	})
	if err != nil {
		return err
	}
	alone, err := issue(nil, nil, signingLeaf("notation alone"))
	if err != nil {
		return err
	}
	n.Certificates["alone"] = alone.pem()
	payload := func(d string) coresignature.Payload {
		return coresignature.Payload{
			ContentType: "application/vnd.cncf.notary.payload.v1+json",
			Content:     []byte(fmt.Sprintf(`{"targetArtifact":{"mediaType":%q,"digest":%q,"size":528}}`, target.MediaType, d)),
		}
	}
	sign := func(name string, who *authority, change func(*coresignature.SignRequest)) error {
		for format, media := range formats {
			local, err := coresignature.NewLocalSigner(who.chain(), who.key)
			if err != nil {
				return err
			}
			request := coresignature.SignRequest{
				Payload: payload(m.Digest), Signer: local, SigningTime: signed, SigningScheme: coresignature.SigningSchemeX509,
				SigningAgent: "test/1",
			}
			if change != nil {
				change(&request)
			}
			envelope, err := coresignature.NewEnvelope(media)
			if err != nil {
				return err
			}
			blob, err := envelope.Sign(&request)
			if err != nil {
				return fmt.Errorf("%s-%s: %w", format, name, err)
			}
			n.Signatures[format+"-"+name] = signatureBlob{MediaType: media, Blob: blob}
		}
		return nil
	}
	type request = coresignature.SignRequest
	attribute := func(key string, critical bool, value any) func(*request) {
		return func(r *request) {
			r.ExtendedSignedAttributes = append(r.ExtendedSignedAttributes, coresignature.Attribute{Key: key, Critical: critical, Value: value})
		}
	}
	authorityScheme := func(r *request) { r.SigningScheme = coresignature.SigningSchemeX509SigningAuthority }
	for _, c := range []struct {
		name   string
		who    *authority
		change func(*request)
	}{
		{"plain", who, nil},
		{"below", below, nil},
		{"alone", alone, nil},
		{"other-image", who, func(r *request) { r.Payload = payload(m.Other) }},
		{"other-size", who, func(r *request) {
			r.Payload.Content = []byte(fmt.Sprintf(`{"targetArtifact":{"mediaType":%q,"digest":%q,"size":529}}`, target.MediaType, m.Digest))
		}},
		{"other-type", who, func(r *request) {
			r.Payload.Content = []byte(fmt.Sprintf(`{"targetArtifact":{"mediaType":"text/plain","digest":%q,"size":528}}`, m.Digest))
		}},
		{"not-a-target", who, func(r *request) { r.Payload.Content = []byte(`{"target":1}`) }},
		{"other-payload", who, func(r *request) { r.Payload.ContentType = "application/json" }},
		{"expired", who, func(r *request) { r.Expiry = signed.Add(time.Hour) }},
		{"expires", who, func(r *request) { r.Expiry = ended.AddDate(-1, 0, 0) }},
		{"old", old, func(r *request) { r.SigningTime = created.AddDate(0, 1, 0) }},
		{"future", future, func(r *request) { r.SigningTime = ended.AddDate(-1, 1, 0) }},
		{"authority", who, authorityScheme},
		{"authority-old", old, func(r *request) { authorityScheme(r); r.SigningTime = created.AddDate(0, 1, 0) }},
		{"attribute", who, attribute("com.example.note", false, "hello")},
		{"critical", who, attribute("com.example.note", true, "hello")},
		{"plugin", who, attribute("io.cncf.notary.verificationPlugin", true, "example-plugin")},
		{"plugin-loose", who, attribute("io.cncf.notary.verificationPlugin", false, "example-plugin")},
		{"ocsp", byOCSP, nil},
		{"crl", byCRL, nil},
		{"both", byBoth, nil},
	} {
		if err := sign(c.name, c.who, c.change); err != nil {
			return err
		}
	}
	if err := n.stamped(old, payload(m.Digest), formats); err != nil {
		return err
	}
	// Chains with the key of `plain` that must be refused.
	for name, change := range map[string]func(*x509.Certificate){
		"server":      func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"no-usage":    func(c *x509.Certificate) { c.KeyUsage = 0 },
		"encipher":    func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyEncipherment },
		"is-ca":       func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true },
		"other-usage": func(c *x509.Certificate) { c.ExtKeyUsage = nil },
	} {
		template := signingLeaf("notation signer")
		change(template)
		made, err := issue(root, who.key, template)
		if err != nil {
			return err
		}
		n.Chains[name] = [][]byte{made.certificate.Raw, root.certificate.Raw}
	}
	made, err := issue(stranger, who.key, signingLeaf("notation signer"))
	if err != nil {
		return err
	}
	n.Chains["stranger"] = [][]byte{made.certificate.Raw, stranger.certificate.Raw}
	n.Chains["not-issued"] = [][]byte{made.certificate.Raw, root.certificate.Raw}
	n.Chains["no-root"] = [][]byte{below.certificate.Raw, middle.certificate.Raw}
	n.Chains["middle"] = [][]byte{middle.certificate.Raw}
	if err := n.revocations(root, byOCSP, byCRL, byBoth); err != nil {
		return err
	}
	m.Notation = n
	return nil
}

// stamped signs with a certificate that has expired since, and adds timestamps from when it was valid and from later.
func (n *notationMaterial) stamped(old *authority, payload coresignature.Payload, formats map[string]string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	tsa, err := timestampAuthority("notation tsa", key)
	if err != nil {
		return err
	}
	n.Certificates["tsa"] = tsa.parent.pem()
	for name, at := range map[string]time.Time{"stamped": created.AddDate(0, 1, 0), "stamped-late": created.AddDate(1, 1, 0)} {
		for format, media := range formats {
			local, err := coresignature.NewLocalSigner(old.chain(), old.key)
			if err != nil {
				return err
			}
			envelope, err := coresignature.NewEnvelope(media)
			if err != nil {
				return err
			}
			blob, err := envelope.Sign(&coresignature.SignRequest{
				Payload: payload, Signer: local, SigningTime: created.AddDate(0, 1, 0), SigningScheme: coresignature.SigningSchemeX509,
				Timestamper: clock{tsa, at}, TSARootCAs: pool(tsa.parent),
			})
			if err != nil {
				return fmt.Errorf("%s-%s: %w", format, name, err)
			}
			n.Signatures[format+"-"+name] = signatureBlob{MediaType: media, Blob: blob}
		}
	}
	return nil
}

func pool(a *authority) *x509.CertPool {
	all := x509.NewCertPool()
	all.AddCert(a.certificate)
	return all
}

// clock stamps with a time of its own.
type clock struct {
	tsa *authority
	at  time.Time
}

func (c clock) Timestamp(_ context.Context, request *tspclient.Request) (*tspclient.Response, error) {
	raw, err := c.tsa.stampDigest(request.MessageImprint.HashedMessage, request.Nonce, c.at)
	if err != nil {
		return nil, err
	}
	var response tspclient.Response
	err = response.UnmarshalBinary(raw)
	return &response, err
}

// revocations are what OCSP and CRL servers answer.
func (n *notationMaterial) revocations(root, byOCSP, byCRL, byBoth *authority) error {
	answer := func(name string, who *authority, status int, until time.Time, signer *authority) error {
		template := ocsp.Response{
			Status: status, SerialNumber: who.certificate.SerialNumber, ThisUpdate: created, NextUpdate: until,
			IssuerHash: crypto.SHA1,
		}
		if status == ocsp.Revoked {
			template.RevokedAt, template.RevocationReason = created, ocsp.KeyCompromise
		}
		raw, err := ocsp.CreateResponse(root.certificate, signer.certificate, template, signer.key)
		n.Responses[name] = raw
		return err
	}
	stranger, err := issue(nil, nil, ca("notation root"))
	if err != nil {
		return err
	}
	responder, err := issue(root, nil, &x509.Certificate{
		Subject: subject("responder"), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
	})
	if err != nil {
		return err
	}
	for _, a := range []struct {
		name   string
		who    *authority
		status int
		until  time.Time
		signer *authority
	}{
		{"ocsp-good", byOCSP, ocsp.Good, ended, root},
		{"ocsp-revoked", byOCSP, ocsp.Revoked, ended, root},
		{"ocsp-unknown", byOCSP, ocsp.Unknown, ended, root},
		{"ocsp-expired", byOCSP, ocsp.Good, created.Add(time.Hour), root},
		{"ocsp-stranger", byOCSP, ocsp.Good, ended, stranger},
		{"ocsp-other", byCRL, ocsp.Good, ended, root},
		{"ocsp-both", byBoth, ocsp.Good, ended, root},
	} {
		if err := answer(a.name, a.who, a.status, a.until, a.signer); err != nil {
			return err
		}
	}
	// A responder of its own, whose certificate is in the response.
	raw, err := ocsp.CreateResponse(root.certificate, responder.certificate, ocsp.Response{
		Status: ocsp.Good, SerialNumber: byOCSP.certificate.SerialNumber, ThisUpdate: created, NextUpdate: ended,
		IssuerHash: crypto.SHA1, Certificate: responder.certificate,
	}, responder.key)
	if err != nil {
		return err
	}
	n.Responses["ocsp-delegated"] = raw
	list := func(name string, until time.Time, signer *authority, entries ...x509.RevocationListEntry) error {
		raw, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			Number: big.NewInt(1), ThisUpdate: created, NextUpdate: until, RevokedCertificateEntries: entries,
		}, signer.certificate, signer.key)
		n.Responses[name] = raw
		return err
	}
	entry := func(who *authority, reason int) x509.RevocationListEntry {
		return x509.RevocationListEntry{SerialNumber: who.certificate.SerialNumber, RevocationTime: created, ReasonCode: reason}
	}
	if err := list("crl-good", ended, root, x509.RevocationListEntry{SerialNumber: big.NewInt(1), RevocationTime: created}); err != nil {
		return err
	}
	if err := list("crl-revoked", ended, root, entry(byCRL, 1), entry(byBoth, 1)); err != nil {
		return err
	}
	if err := list("crl-held", ended, root, entry(byCRL, 6)); err != nil {
		return err
	}
	if err := list("crl-removed", ended, root, entry(byCRL, 8)); err != nil {
		return err
	}
	if err := list("crl-expired", created.Add(time.Hour), root); err != nil {
		return err
	}
	return list("crl-stranger", ended, stranger)
}
