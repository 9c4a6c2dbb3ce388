//! The certificate verifier for rustls.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, SignatureScheme,
};

use super::certificate::Certificate;
use super::chain::Shown;
use super::roots::Roots;
use super::signature::{Curve, Hash, PublicKey, Scheme};

/// Why a server is not trusted, with Go's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

fn refuse(why: String) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refusal(why)))))
}

/// Verifies servers against the certificates that a client trusts.
#[derive(Debug)]
pub(crate) struct Verifier {
    /// `None` if every certificate is accepted.
    roots: Option<Roots>,
}

impl Verifier {
    pub(crate) fn new(roots: Roots) -> Self {
        Self { roots: Some(roots) }
    }

    /// Accepts every certificate; the server must still have its key.
    pub(crate) fn of_anyone() -> Self {
        Self { roots: None }
    }
}

/// The schemes of a handshake, best first: those of Go's client, without SHA-1.
const SCHEMES: [(SignatureScheme, Scheme); 10] = [
    (SignatureScheme::ED25519, Scheme::Ed25519),
    (
        SignatureScheme::ECDSA_NISTP256_SHA256,
        Scheme::Ecdsa(Hash::Sha256),
    ),
    (
        SignatureScheme::ECDSA_NISTP384_SHA384,
        Scheme::Ecdsa(Hash::Sha384),
    ),
    (
        SignatureScheme::ECDSA_NISTP521_SHA512,
        Scheme::Ecdsa(Hash::Sha512),
    ),
    (SignatureScheme::RSA_PSS_SHA256, Scheme::Pss(Hash::Sha256)),
    (SignatureScheme::RSA_PSS_SHA384, Scheme::Pss(Hash::Sha384)),
    (SignatureScheme::RSA_PSS_SHA512, Scheme::Pss(Hash::Sha512)),
    (
        SignatureScheme::RSA_PKCS1_SHA256,
        Scheme::Pkcs1(Hash::Sha256),
    ),
    (
        SignatureScheme::RSA_PKCS1_SHA384,
        Scheme::Pkcs1(Hash::Sha384),
    ),
    (
        SignatureScheme::RSA_PKCS1_SHA512,
        Scheme::Pkcs1(Hash::Sha512),
    ),
];

/// Verifies the signature of a handshake with the key of the server's certificate.
fn verify_handshake(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    tls13: bool,
) -> Result<HandshakeSignatureValid, Error> {
    let known = SCHEMES.iter().find(|(scheme, _)| *scheme == signed.scheme);
    let Some((_, scheme)) = known else {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    let parsed =
        Certificate::parse(certificate).map_err(|malformed| refuse(malformed.0.to_owned()))?;
    if tls13 {
        // TLS 1.3 has no PKCS #1 in handshakes, and ties each curve to its hash.
        let fits = match (scheme, parsed.key) {
            (Scheme::Pkcs1(_), _) => false,
            (Scheme::Ecdsa(hash), PublicKey::Ec(curve, _)) => matches!(
                (curve, hash),
                (Curve::P256, Hash::Sha256)
                    | (Curve::P384, Hash::Sha384)
                    | (Curve::P521, Hash::Sha512)
            ),
            _ => true,
        };
        if !fits {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
    }
    match parsed.key.verify(*scheme, message, signed.signature()) {
        Ok(()) => Ok(HandshakeSignatureValid::assertion()),
        Err(_) => Err(CertificateError::BadSignature.into()),
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let host = server_name.to_str();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let others = intermediates.iter().map(AsRef::as_ref);
        Shown::parse(end_entity, others)
            .map_err(refuse)?
            .verify(roots, &host, now)
            .map_err(|why| refuse(format!("tls: failed to verify certificate: {why}")))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_handshake(message, certificate, signed, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_handshake(message, certificate, signed, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.iter().map(|(scheme, _)| *scheme).collect()
    }
}

/// Whether a certificate of any version has this `SubjectPublicKeyInfo`; `None` if the certificate does not parse.
pub(crate) fn is_for_key(certificate: &[u8], key_info: &[u8]) -> Option<bool> {
    let parsed = Certificate::parse(certificate).ok()?;
    // Compare parsed keys, since their parameters have several encodings.
    Some(parsed.key != PublicKey::Unsupported && PublicKey::parse(key_info) == Some(parsed.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_may_be_signed_as_with_gos_client() {
        let verifier = Verifier::new(Roots::new(Vec::new(), false));
        assert_eq!(
            verifier.supported_verify_schemes(),
            [
                SignatureScheme::ED25519,
                SignatureScheme::ECDSA_NISTP256_SHA256,
                SignatureScheme::ECDSA_NISTP384_SHA384,
                SignatureScheme::ECDSA_NISTP521_SHA512,
                SignatureScheme::RSA_PSS_SHA256,
                SignatureScheme::RSA_PSS_SHA384,
                SignatureScheme::RSA_PSS_SHA512,
                SignatureScheme::RSA_PKCS1_SHA256,
                SignatureScheme::RSA_PKCS1_SHA384,
                SignatureScheme::RSA_PKCS1_SHA512,
            ]
        );
    }
}
