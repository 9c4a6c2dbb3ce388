//! TLS settings: trusted authorities and client certificate.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::secret::{Hidden, Secret};
use crate::x509::{Roots, Verifier, is_for_key};

/// How the authorities of a Secret relate to the system's (RT-SEC-004).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RootCertificates {
    /// They are trusted in addition to the system's.
    #[default]
    AddToSystem,
    /// They are trusted instead of the system's.
    ReplaceSystem,
}

/// A client certificate (chain) and its private key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientPair {
    /// The certificate, intermediates after it.
    pub certificate: Vec<u8>,
    /// The private key.
    pub key: Secret,
}

/// TLS settings of one client. The default trusts what the system trusts.
///
/// The system's authorities are those of the bundle file (`SSL_CERT_FILE`, `SSL_CERT_DIR`, otherwise the usual places):
/// an image contains one, and an operator can mount another. None are compiled in, since those could be neither removed
/// nor renewed. Certificates are verified, and no Secret can change that (RT-SEC-005).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// How `authorities` relate to the system's.
    pub roots: RootCertificates,
    /// PEM text with further authorities.
    pub authorities: Option<Vec<u8>>,
    /// Certificate for servers that request one.
    pub client_pair: Option<ClientPair>,
    /// Accepts every server certificate. Only for registries that an object declares insecure (SC-OCI-049).
    pub accept_any_server: bool,
}

impl fmt::Debug for ClientPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The certificate may be a private key by mistake.
        f.debug_struct("ClientPair")
            .field("certificate", &Hidden(&self.certificate))
            .field("key", &self.key)
            .finish()
    }
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("roots", &self.roots)
            .field("authorities", &self.authorities.as_deref().map(Hidden))
            .field("client_pair", &self.client_pair)
            .field("accept_any_server", &self.accept_any_server)
            .finish()
    }
}

/// Why TLS settings are unusable (RT-SEC-004).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The authorities contain no valid certificate.
    #[error("failed to parse CA certificate")]
    Authorities,
    /// The client certificate or its key cannot be read, or they do not match.
    #[error("failed to parse TLS certificate and key: {0}")]
    ClientPair(&'static str),
    /// The TLS library rejected the settings.
    #[error("failed to configure TLS: {0}")]
    Config(String),
}

/// The cryptography provider.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| {
        let mut provider = ring::default_provider();
        provider.kx_groups.push(&crate::key_exchange::P521);
        Arc::new(provider)
    }))
}

impl TlsSettings {
    /// Checks that all settings parse.
    pub fn validate(&self) -> Result<(), TlsError> {
        if let Some(pem) = &self.authorities {
            authorities(pem)?;
        }
        if let Some(pair) = &self.client_pair {
            pair.load()?;
        }
        Ok(())
    }

    /// The configuration for rustls, without ALPN, which the HTTP client sets.
    pub fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let given = match &self.authorities {
            None => Vec::new(),
            Some(pem) => {
                authorities(pem)?;
                certificates(pem)
            }
        };
        let roots = Roots::new(given, self.roots == RootCertificates::AddToSystem);
        let verifier = if self.accept_any_server {
            Verifier::of_anyone()
        } else {
            Verifier::new(roots)
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Config(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        Ok(match &self.client_pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair.load()?)))
            }
        })
    }
}

/// The certificates of a PEM text; other entries are skipped.
fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .collect()
}

/// Checks that a PEM text contains a valid certificate.
fn authorities(pem: &[u8]) -> Result<(), TlsError> {
    if Roots::new(certificates(pem), false).has_none_given() {
        Err(TlsError::Authorities)
    } else {
        Ok(())
    }
}

impl ClientPair {
    /// Parses the pair. Version 1 certificates are accepted: whether they suffice is up to the server.
    fn load(&self) -> Result<CertifiedKey, TlsError> {
        let failed = |what| Err(TlsError::ClientPair(what));
        let Ok(chain) =
            CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>()
        else {
            return failed("the certificate is not valid PEM");
        };
        let Some(own) = chain.first() else {
            return failed("tls: failed to find any PEM data in certificate input");
        };
        let Ok(key) = PrivateKeyDer::from_pem_slice(self.key.expose()) else {
            return failed("tls: failed to find any PEM data in key input");
        };
        let Some(key) = crate::client_key::load(&key) else {
            return failed(
                "tls: failed to parse private key, or it is of a kind that is not supported: use RSA of at least 1024 bits, ECDSA on P-256, P-384 or P-521, or Ed25519",
            );
        };
        let public = key.public_key();
        let fits = public.and_then(|public| is_for_key(own, &public));
        match fits {
            Some(true) => {}
            Some(false) => return failed("tls: private key does not match public key"),
            None => return failed("x509: malformed certificate"),
        }
        Ok(CertifiedKey::new(chain, key))
    }
}
