//! Which authorities are trusted, and which client certificate is shown.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};

use crate::secret::Secret;

/// What the authorities of a Secret do to the system's (RT-SEC-004).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RootCertificates {
    /// They are trusted besides the system's.
    #[default]
    AddToSystem,
    /// They are trusted instead of the system's.
    ReplaceSystem,
}

/// A client certificate (chain) and its private key, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPair {
    /// The certificate, intermediates after it.
    pub certificate: Vec<u8>,
    /// The private key.
    pub key: Secret,
}

/// TLS settings of one client. The default trusts what the system trusts.
///
/// The system's authorities are those of the bundle file (`SSL_CERT_FILE`, `SSL_CERT_DIR`, else the usual places): an image
/// brings one, and an operator may mount another. None are compiled in, since those could be neither removed nor renewed.
/// Certificates are always verified (RT-SEC-005).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// What `authorities` do to the system's.
    pub roots: RootCertificates,
    /// PEM text with further authorities.
    pub authorities: Option<Vec<u8>>,
    /// Certificate to show to servers that ask for one.
    pub client_pair: Option<ClientPair>,
}

/// Why TLS settings cannot be used (RT-SEC-004).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No certificate could be read from the authorities' text.
    #[error("failed to parse CA certificate")]
    Authorities,
    /// The client certificate or its key cannot be read, or they do not belong together.
    #[error("failed to parse TLS certificate and key: {0}")]
    ClientPair(String),
    /// The TLS library refused the settings.
    #[error("failed to configure TLS: {0}")]
    Config(String),
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

/// The system's authorities, read once per process as Go does.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // A file that cannot be read, or an entry that does not parse, leaves that authority untrusted, as in Go.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    }))
}

impl TlsSettings {
    /// Whether everything in the settings parses.
    pub fn validate(&self) -> Result<(), TlsError> {
        if let Some(pem) = &self.authorities {
            authorities(pem)?;
        }
        if let Some(pair) = &self.client_pair {
            pair.load()?;
        }
        Ok(())
    }

    /// The configuration for rustls, with ALPN for HTTP left to the client that uses it.
    pub fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let config = |error: &dyn std::fmt::Display| TlsError::Config(error.to_string());
        let (roots, given) = match &self.authorities {
            None if self.roots == RootCertificates::ReplaceSystem => {
                (Arc::new(RootCertStore::empty()), Vec::new())
            }
            None => (system_roots(), Vec::new()),
            Some(pem) => {
                let given = authorities(pem)?;
                let mut roots = match self.roots {
                    RootCertificates::AddToSystem => (*system_roots()).clone(),
                    RootCertificates::ReplaceSystem => RootCertStore::empty(),
                };
                roots.add_parsable_certificates(given.iter().cloned());
                (Arc::new(roots), given)
            }
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| config(&error))?;
        let builder = if roots.is_empty() {
            // No authority at all: every server is refused, with an error of the handshake rather than of the set-up.
            builder.with_root_certificates(roots)
        } else {
            let inner = WebPkiServerVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(|error| config(&error))?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(crate::pinned::Verifier::new(
                    inner, given,
                )))
        };
        match &self.client_pair {
            None => Ok(builder.with_no_client_auth()),
            Some(pair) => {
                let (chain, key) = pair.parse()?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| TlsError::ClientPair(error.to_string()))
            }
        }
    }
}

/// The certificates of a PEM text; what is not a certificate is passed over.
fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut roots = RootCertStore::empty();
    let usable: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .filter(|certificate| roots.add(certificate.clone()).is_ok())
        .collect();
    if usable.is_empty() {
        Err(TlsError::Authorities)
    } else {
        Ok(usable)
    }
}

impl ClientPair {
    fn parse(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let failed = |what: &str| TlsError::ClientPair(what.to_owned());
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|_| failed("the certificate is not valid PEM"))?;
        if chain.is_empty() {
            return Err(failed("no certificate found in the certificate input"));
        }
        let key = PrivateKeyDer::from_pem_slice(self.key.expose())
            .map_err(|_| failed("no private key found in the key input"))?;
        Ok((chain, key))
    }

    fn load(&self) -> Result<CertifiedKey, TlsError> {
        let (chain, key) = self.parse()?;
        // rustls' messages name kinds of keys and defects, never their bytes.
        CertifiedKey::from_der(chain, key, &provider())
            .map_err(|error| TlsError::ClientPair(error.to_string()))
    }
}
