package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/transparency-dev/merkle/rfc6962"
)

// sigstore is one deployment of Fulcio, a CT log, Rekor and a timestamp authority.
type sigstore struct {
	root, intermediate *authority
	ct, rekor          *ecdsa.PrivateKey
	tsa                *authority
	host               string
}

func newSigstore(host string) (*sigstore, error) {
	s := &sigstore{host: host}
	var err error
	if s.root, err = issue(nil, nil, ca(host+" root")); err != nil {
		return nil, err
	}
	template := ca(host + " intermediate")
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	template.MaxPathLenZero = true
	if s.intermediate, err = issue(s.root, nil, template); err != nil {
		return nil, err
	}
	if s.ct, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	if s.rekor, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	s.tsa, err = timestampAuthority(host+" tsa", nil)
	return s, err
}

// trustedRoot is the trusted_root.json of the deployment. The log keys are trusted from `since` on.
func (s *sigstore) trustedRoot(since time.Time) (string, error) {
	valid := map[string]any{"start": since.Format(time.RFC3339)}
	log := func(key *ecdsa.PrivateKey, host string) (map[string]any, error) {
		raw, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return nil, err
		}
		id, err := logID(key.Public())
		return map[string]any{
			"baseUrl":       "https://" + host,
			"hashAlgorithm": "SHA2_256",
			"publicKey":     map[string]any{"rawBytes": raw, "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": valid},
			"logId":         map[string]any{"keyId": id},
		}, err
	}
	rekor, err := log(s.rekor, "rekor."+s.host)
	if err != nil {
		return "", err
	}
	ct, err := log(s.ct, "ct."+s.host)
	if err != nil {
		return "", err
	}
	chain := func(all ...*authority) map[string]any {
		certificates := []any{}
		for _, a := range all {
			certificates = append(certificates, map[string]any{"rawBytes": a.certificate.Raw})
		}
		return map[string]any{"certificates": certificates}
	}
	text, err := json.Marshal(map[string]any{
		"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		"tlogs":     []any{rekor},
		"ctlogs":    []any{ct},
		"certificateAuthorities": []any{map[string]any{
			"subject": map[string]any{"organization": "Example", "commonName": s.host}, "uri": "https://fulcio." + s.host,
			"certChain": chain(s.intermediate, s.root), "validFor": map[string]any{"start": created.Format(time.RFC3339)},
		}},
		"timestampAuthorities": []any{map[string]any{
			"subject": map[string]any{"organization": "Example", "commonName": s.host}, "uri": "https://tsa." + s.host,
			"certChain": chain(s.tsa, s.tsa.parent), "validFor": map[string]any{"start": created.Format(time.RFC3339)},
		}},
	})
	return string(text), err
}

// leaf says what differs from the ordinary certificate of a workflow.
type leaf struct {
	email      string
	onlyOld    bool
	onlyNew    bool
	noSCT      bool
	strangeSCT bool
	noUsage    bool
	parent     *authority
	curve      elliptic.Curve
}

const (
	issuerURL  = "https://token.actions.example.com"
	subjectURL = "https://example.com/org/repo/.github/workflows/release.yaml@refs/tags/v1"
)

func (s *sigstore) certificate(l leaf) (*authority, error) {
	if l.curve == nil {
		l.curve = elliptic.P256()
	}
	key, err := ecdsa.GenerateKey(l.curve, rand.Reader)
	if err != nil {
		return nil, err
	}
	parent := l.parent
	if parent == nil {
		parent = s.intermediate
	}
	utf8, err := asn1.MarshalWithParams(issuerURL, "utf8")
	if err != nil {
		return nil, err
	}
	serial++
	template := func() *x509.Certificate {
		t := &x509.Certificate{
			NotBefore: signed, NotAfter: signed.Add(10 * time.Minute), KeyUsage: x509.KeyUsageDigitalSignature,
		}
		if !l.noUsage {
			t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
		} else {
			t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}
		if l.email != "" {
			t.EmailAddresses = []string{l.email}
		} else {
			uri, _ := url.Parse(subjectURL)
			t.URIs = []*url.URL{uri}
		}
		if !l.onlyNew {
			t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(issuerURL)})
		}
		if !l.onlyOld {
			t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: utf8})
		}
		t.SerialNumber = bigSerial()
		return t
	}
	plain, err := issue(parent, key, template())
	if err != nil || l.noSCT {
		return plain, err
	}
	log := s.ct
	if l.strangeSCT {
		if log, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	list, err := sctList(log, plain.certificate, parent.certificate)
	if err != nil {
		return nil, err
	}
	with := template()
	with.SerialNumber = plain.certificate.SerialNumber
	with.ExtraExtensions = append(with.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: list})
	return issue(parent, key, with)
}

// sctList is the extension of a certificate whose other content is that of `plain`.
func sctList(log *ecdsa.PrivateKey, plain, parent *x509.Certificate) ([]byte, error) {
	at := make([]byte, 8)
	binary.BigEndian.PutUint64(at, uint64(signed.UnixMilli()))
	issuer := sha256.Sum256(parent.RawSubjectPublicKeyInfo)
	body := plain.RawTBSCertificate
	var content bytes.Buffer
	content.Write([]byte{0, 0})
	content.Write(at)
	content.Write([]byte{0, 1})
	content.Write(issuer[:])
	content.Write([]byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))})
	content.Write(body)
	content.Write([]byte{0, 0})
	sum := sha256.Sum256(content.Bytes())
	sig, err := ecdsa.SignASN1(rand.Reader, log, sum[:])
	if err != nil {
		return nil, err
	}
	id, err := logID(log.Public())
	if err != nil {
		return nil, err
	}
	var sct bytes.Buffer
	sct.WriteByte(0)
	sct.Write(id)
	sct.Write(at)
	sct.Write([]byte{0, 0, 4, 3, byte(len(sig) >> 8), byte(len(sig))})
	sct.Write(sig)
	inner := sct.Bytes()
	list := append([]byte{byte((len(inner) + 2) >> 8), byte(len(inner) + 2), byte(len(inner) >> 8), byte(len(inner))}, inner...)
	return asn1.Marshal(list)
}

func (a *authority) sign(message []byte) ([]byte, error) {
	hash := crypto.SHA256
	if key, ok := a.key.(*ecdsa.PrivateKey); ok && key.Curve == elliptic.P384() {
		hash = crypto.SHA384
	}
	hasher := hash.New()
	hasher.Write(message)
	return a.key.Sign(rand.Reader, hasher.Sum(nil), hash)
}

// entry is an entry of Rekor with both its proofs.
type entry struct {
	body       []byte
	index      int64
	set        []byte
	hashes     [][]byte
	rootHash   []byte
	size       int64
	checkpoint string
	logID      []byte
	at         int64
}

// log puts a body into a log with two other entries.
func (s *sigstore) log(body []byte, at time.Time) (*entry, error) {
	id, err := logID(s.rekor.Public())
	if err != nil {
		return nil, err
	}
	e := &entry{body: body, index: 1, at: at.Unix(), logID: id, size: 3}
	payload, err := json.Marshal(map[string]any{
		"body": base64.StdEncoding.EncodeToString(body), "integratedTime": e.at, "logIndex": e.index, "logID": hex.EncodeToString(id),
	})
	if err != nil {
		return nil, err
	}
	canonical, err := jsoncanonicalizer.Transform(payload)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(canonical)
	if e.set, err = ecdsa.SignASN1(rand.Reader, s.rekor, sum[:]); err != nil {
		return nil, err
	}
	hasher := rfc6962.DefaultHasher
	first, last := hasher.HashLeaf([]byte("first")), hasher.HashLeaf([]byte("last"))
	e.hashes = [][]byte{first, last}
	e.rootHash = hasher.HashChildren(hasher.HashChildren(first, hasher.HashLeaf(body)), last)
	signer, err := signature.LoadECDSASigner(s.rekor, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	checkpoint, err := util.CreateAndSignCheckpoint(background, "rekor."+s.host, 1234, uint64(e.size), e.rootHash, signer)
	e.checkpoint = string(checkpoint)
	return e, err
}

// proto is the entry as bundles have it.
func (e *entry) proto(kind string) map[string]any {
	return map[string]any{
		"logIndex": fmt.Sprint(e.index), "logId": map[string]any{"keyId": e.logID},
		"kindVersion":    map[string]any{"kind": kind, "version": "0.0.1"},
		"integratedTime": fmt.Sprint(e.at), "inclusionPromise": map[string]any{"signedEntryTimestamp": e.set},
		"inclusionProof": map[string]any{
			"logIndex": fmt.Sprint(e.index), "rootHash": e.rootHash, "treeSize": fmt.Sprint(e.size), "hashes": e.hashes,
			"checkpoint": map[string]any{"envelope": e.checkpoint},
		},
		"canonicalizedBody": e.body,
	}
}

func simplePayload(digest string) []byte {
	return []byte(fmt.Sprintf(`{"critical":{"identity":{"docker-reference":"registry.example.com/app"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, digest))
}

// classic is a signature in the old layout, as `cosign sign` without a key made it.
func (s *sigstore) classic(l leaf, digest string, at time.Time) (classic, error) {
	who, err := s.certificate(l)
	if err != nil {
		return classic{}, err
	}
	payload := simplePayload(digest)
	sum := sha256.Sum256(payload)
	sig, err := who.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return classic{}, err
	}
	body, err := json.Marshal(map[string]any{"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": map[string]any{
		"data": map[string]any{"hash": map[string]any{"algorithm": "sha256", "value": digestHex(payload)}},
		"signature": map[string]any{
			"content": sig, "publicKey": map[string]any{"content": []byte(who.pem())},
		},
	}})
	if err != nil {
		return classic{}, err
	}
	e, err := s.log(body, at)
	if err != nil {
		return classic{}, err
	}
	bundle, err := json.Marshal(map[string]any{"SignedEntryTimestamp": e.set, "Payload": map[string]any{
		"body": base64.StdEncoding.EncodeToString(body), "integratedTime": e.at, "logIndex": e.index, "logID": hex.EncodeToString(e.logID),
	}})
	return classic{Layers: []layer{{Payload: payload, Annotations: map[string]string{
		"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig),
		"dev.sigstore.cosign/certificate":    who.pem(),
		"dev.sigstore.cosign/chain":          s.intermediate.pem() + s.root.pem(),
		"dev.sigstore.cosign/bundle":         string(bundle),
	}}}}, err
}

func statement(digest string) []byte {
	return []byte(fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`, digest[len("sha256:"):]))
}

// bundle is a Sigstore bundle as `cosign sign` without a key writes it: a DSSE envelope, or a message signature.
func (s *sigstore) bundle(l leaf, digest string, at time.Time, message, stamped bool) (map[string]any, error) {
	who, err := s.certificate(l)
	if err != nil {
		return nil, err
	}
	content := map[string]any{}
	var body []byte
	var sig []byte
	kind := "dsse"
	if message {
		kind = "hashedrekord"
		raw, err := hex.DecodeString(digest[len("sha256:"):])
		if err != nil {
			return nil, err
		}
		if sig, err = who.key.Sign(rand.Reader, raw, crypto.SHA256); err != nil {
			return nil, err
		}
		content["messageSignature"] = map[string]any{"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": raw}, "signature": sig}
		body, err = json.Marshal(map[string]any{"apiVersion": "0.0.1", "kind": kind, "spec": map[string]any{
			"data":      map[string]any{"hash": map[string]any{"algorithm": "sha256", "value": hex.EncodeToString(raw)}},
			"signature": map[string]any{"content": sig, "publicKey": map[string]any{"content": []byte(who.pem())}},
		}})
		if err != nil {
			return nil, err
		}
	} else {
		payload := statement(digest)
		if sig, err = who.sign(dsse.PAE("application/vnd.in-toto+json", payload)); err != nil {
			return nil, err
		}
		content["dsseEnvelope"] = map[string]any{
			"payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": []any{map[string]any{"sig": sig}},
		}
		body, err = json.Marshal(map[string]any{"apiVersion": "0.0.1", "kind": kind, "spec": map[string]any{
			"envelopeHash": map[string]any{"algorithm": "sha256", "value": digestHex([]byte("envelope"))},
			"payloadHash":  map[string]any{"algorithm": "sha256", "value": digestHex(payload)},
			"signatures":   []any{map[string]any{"signature": base64.StdEncoding.EncodeToString(sig), "verifier": []byte(who.pem())}},
		}})
		if err != nil {
			return nil, err
		}
	}
	e, err := s.log(body, at)
	if err != nil {
		return nil, err
	}
	verification := map[string]any{
		"certificate": map[string]any{"rawBytes": who.certificate.Raw},
		"tlogEntries": []any{e.proto(kind)},
	}
	if stamped {
		response, err := s.tsa.stamp(sig, at)
		if err != nil {
			return nil, err
		}
		verification["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": []any{map[string]any{"signedTimestamp": response}}}
	}
	content["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.3+json"
	content["verificationMaterial"] = verification
	return content, nil
}

// second is a bundle with an entry of the second version of Rekor, whose time comes from a timestamp.
func (s *sigstore) second(l leaf, digest string, at time.Time) (map[string]any, error) {
	bundle, err := s.bundle(l, digest, at, false, true)
	if err != nil {
		return nil, err
	}
	verification := bundle["verificationMaterial"].(map[string]any)
	certificate := verification["certificate"].(map[string]any)["rawBytes"].([]byte)
	envelope := bundle["dsseEnvelope"].(map[string]any)
	sum := sha256.Sum256(dsse.PAE("application/vnd.in-toto+json", envelope["payload"].([]byte)))
	body, err := json.Marshal(map[string]any{"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": map[string]any{"hashedRekordV002": map[string]any{
		"data": map[string]any{"algorithm": "SHA2_256", "digest": sum[:]},
		"signature": map[string]any{
			"content":  envelope["signatures"].([]any)[0].(map[string]any)["sig"],
			"verifier": map[string]any{"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": map[string]any{"rawBytes": certificate}},
		},
	}}})
	if err != nil {
		return nil, err
	}
	canonical, err := jsoncanonicalizer.Transform(body)
	if err != nil {
		return nil, err
	}
	e, err := s.log(canonical, at)
	if err != nil {
		return nil, err
	}
	// Checkpoints of the second version have the host alone as their origin.
	text := fmt.Sprintf("rekor.%s\n%d\n%s\n", s.host, e.size, base64.StdEncoding.EncodeToString(e.rootHash))
	hash := sha256.Sum256([]byte(text))
	sig, err := ecdsa.SignASN1(rand.Reader, s.rekor, hash[:])
	if err != nil {
		return nil, err
	}
	e.checkpoint = fmt.Sprintf("%s\n\u2014 rekor.%s %s\n", text, s.host, base64.StdEncoding.EncodeToString(append(append([]byte{}, e.logID[:4]...), sig...)))
	proto := e.proto("hashedrekord")
	proto["kindVersion"] = map[string]any{"kind": "hashedrekord", "version": "0.0.2"}
	delete(proto, "integratedTime")
	delete(proto, "inclusionPromise")
	verification["tlogEntries"] = []any{proto}
	return bundle, nil
}

func (m *material) keyless() error {
	ours, err := newSigstore("sigstore.example.com")
	if err != nil {
		return err
	}
	theirs, err := newSigstore("elsewhere.example.com")
	if err != nil {
		return err
	}
	for name, of := range map[string]*sigstore{"ours": ours, "theirs": theirs} {
		if m.Roots[name], err = of.trustedRoot(created); err != nil {
			return err
		}
	}
	if m.Roots["later-logs"], err = ours.trustedRoot(signed.Add(24 * time.Hour)); err != nil {
		return err
	}
	// The intermediate of one deployment with the logs of another.
	mixed := *theirs
	mixed.root, mixed.intermediate = ours.root, ours.intermediate
	if m.Roots["mixed"], err = mixed.trustedRoot(created); err != nil {
		return err
	}
	leafs := map[string]leaf{
		"workflow":       {},
		"email":          {email: "dev@example.com"},
		"old-issuer":     {onlyOld: true},
		"new-issuer":     {onlyNew: true},
		"no-sct":         {noSCT: true},
		"strange-sct":    {strangeSCT: true},
		"server":         {noUsage: true},
		"unknown-issuer": {parent: theirs.intermediate},
	}
	in := signed.Add(time.Minute)
	for name, l := range leafs {
		if m.Classic["keyless-"+name], err = ours.classic(l, m.Digest, in); err != nil {
			return err
		}
		if err := m.put("keyless-"+name, func() (map[string]any, error) { return ours.bundle(l, m.Digest, in, false, false) }); err != nil {
			return err
		}
	}
	for name, at := range map[string]time.Time{"late": signed.Add(time.Hour), "early": signed.Add(-time.Hour)} {
		if m.Classic["keyless-"+name], err = ours.classic(leaf{}, m.Digest, at); err != nil {
			return err
		}
		if err := m.put("keyless-"+name, func() (map[string]any, error) { return ours.bundle(leaf{}, m.Digest, at, false, false) }); err != nil {
			return err
		}
		if err := m.put("rekor2-"+name, func() (map[string]any, error) { return ours.second(leaf{}, m.Digest, at) }); err != nil {
			return err
		}
	}
	if m.Classic["keyless-other-image"], err = ours.classic(leaf{}, m.Other, in); err != nil {
		return err
	}
	for name, make := range map[string]func() (map[string]any, error){
		"keyless-other-image": func() (map[string]any, error) { return ours.bundle(leaf{}, m.Other, in, false, false) },
		"keyless-message":     func() (map[string]any, error) { return ours.bundle(leaf{}, m.Digest, in, true, false) },
		"keyless-stamped":     func() (map[string]any, error) { return ours.bundle(leaf{}, m.Digest, in, false, true) },
		"keyless-p384": func() (map[string]any, error) {
			return ours.bundle(leaf{curve: elliptic.P384()}, m.Digest, in, false, false)
		},
		"rekor2": func() (map[string]any, error) { return ours.second(leaf{}, m.Digest, in) },
	} {
		if err := m.put(name, make); err != nil {
			return err
		}
	}
	// A timestamp of another authority.
	return m.put("rekor2-strange-stamp", func() (map[string]any, error) {
		bundle, err := ours.second(leaf{}, m.Digest, in)
		if err != nil {
			return nil, err
		}
		envelope := bundle["dsseEnvelope"].(map[string]any)
		response, err := theirs.tsa.stamp(envelope["signatures"].([]any)[0].(map[string]any)["sig"].([]byte), in)
		bundle["verificationMaterial"].(map[string]any)["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": []any{map[string]any{"signedTimestamp": response}}}
		return bundle, err
	})
}

func (m *material) put(name string, make func() (map[string]any, error)) error {
	bundle, err := make()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	text, err := json.Marshal(bundle)
	m.Bundles[name] = string(text)
	return err
}

func bigSerial() *big.Int {
	return big.NewInt(serial)
}
