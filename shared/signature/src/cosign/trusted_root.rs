//! Sigstore's trusted root: the authorities and logs that keyless signatures are verified with.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use crate::json::place;
use crate::key::PublicKey;
use crate::protojson::{Bytes, Time};
use crate::tsp::{Stamp, Token};
use crate::x509::{Certificate, USAGE_CODE_SIGNING, chain};

/// The trusted root of Sigstore's public instance: `targets/trusted_root.json` of github.com/sigstore/root-signing.
const PUBLIC_GOOD: &str = include_str!("trusted_root.json");
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot+json;version=0.1";
/// The maximum size of the JSON document.
const MAX_BYTES: usize = 1 << 20;
/// The maximum number of authorities or logs of one kind.
const MAX_ITEMS: usize = 64;
/// The maximum number of certificates of an authority.
const MAX_CHAIN: usize = 16;

/// Why a document is not a trusted root. It may come from a Secret, so no part of it is in a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustedRootError {
    /// More than 1 MiB, or more than 64 of something.
    #[error("trusted root is too large")]
    TooLarge,
    /// Not JSON, or not of this shape.
    #[error("failed to proto-json unmarshal trusted root: {0}")]
    Json(String),
    /// Another version.
    #[error("unsupported TrustedRoot media type")]
    MediaType,
    /// A part is missing.
    #[error("{0}")]
    Missing(&'static str),
    /// A log's key is of an unsupported kind.
    #[error("unsupported tlog public key type")]
    Key,
    /// A certificate is malformed.
    #[error("failed to parse certificate for authority {authority}: {why}")]
    Certificate {
        /// The place of the authority in its list, from one.
        authority: usize,
        /// What is wrong.
        why: String,
    },
}

/// Authorities (Fulcio), transparency logs (Rekor), certificate logs and timestamp authorities.
///
/// ```
/// use flux_signature::cosign::TrustedRoot;
///
/// let root = TrustedRoot::public_good();
/// assert_eq!(root.rekor_url().unwrap(), "https://rekor.sigstore.dev");
/// ```
#[derive(Debug)]
pub struct TrustedRoot {
    authorities: Vec<Authority>,
    rekor: BTreeMap<Vec<u8>, Log>,
    /// The address of each log of Rekor, in the order of the document.
    urls: Vec<String>,
    certificate_logs: BTreeMap<Vec<u8>, Log>,
    timestamps: Vec<Authority>,
    digest: [u8; 32],
}

/// An authority with the time in which it is trusted.
#[derive(Debug)]
struct Authority {
    uri: String,
    /// The signer's own certificate; only timestamp authorities have it here.
    leaf: Option<Arc<Certificate>>,
    intermediates: Vec<Arc<Certificate>>,
    root: Arc<Certificate>,
    valid: Validity,
}

/// A log of Rekor or of certificates.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) url: String,
    pub(crate) key: PublicKey,
    valid: Validity,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Validity {
    start: Option<Time>,
    end: Option<Time>,
}

impl Validity {
    fn contains(self, at: i64) -> bool {
        self.start.is_none_or(|start| start.0 <= at) && self.end.is_none_or(|end| at <= end.0)
    }
}

impl Log {
    /// Whether the log's key is trusted at this time.
    pub(crate) fn is_valid_at(&self, at: i64) -> bool {
        self.valid.contains(at)
    }
}

impl TrustedRoot {
    /// The root of Sigstore's public instance as of the build. It is read once.
    ///
    /// # Panics
    /// Never: a test reads the embedded document.
    pub fn public_good() -> Arc<Self> {
        static ROOT: LazyLock<Arc<TrustedRoot>> = LazyLock::new(|| {
            let root = TrustedRoot::parse(PUBLIC_GOOD.as_bytes());
            Arc::new(root.unwrap_or_else(|error| unreachable!("{error}")))
        });
        Arc::clone(&ROOT)
    }

    /// Reads a `trusted_root.json` (SC-VER-036).
    ///
    /// # Errors
    /// If it is not one, or larger than a real one can be.
    pub fn parse(json: &[u8]) -> Result<Self, TrustedRootError> {
        if json.len() > MAX_BYTES {
            return Err(TrustedRootError::TooLarge);
        }
        let document: Document =
            serde_json::from_slice(json).map_err(|error| TrustedRootError::Json(place(&error)))?;
        if document.media_type != MEDIA_TYPE {
            return Err(TrustedRootError::MediaType);
        }
        let counts = [
            document.tlogs.len(),
            document.ctlogs.len(),
            document.certificate_authorities.len(),
            document.timestamp_authorities.len(),
        ];
        if counts.into_iter().any(|count| count > MAX_ITEMS) {
            return Err(TrustedRootError::TooLarge);
        }
        let urls = document.tlogs.iter().map(|log| log.base_url.clone());
        Ok(Self {
            urls: urls.collect(),
            authorities: authorities(document.certificate_authorities, false)?,
            rekor: logs(document.tlogs)?,
            certificate_logs: logs(document.ctlogs)?,
            timestamps: authorities(document.timestamp_authorities, true)?,
            digest: {
                use sha2::Digest as _;
                sha2::Sha256::digest(json).into()
            },
        })
    }

    /// The address of the first log of Rekor that has one. Nothing is asked of it, but upstream refuses a root from a Secret
    /// without one: `unable to extract Rekor URL from trusted root: …` (SC-VER-036).
    ///
    /// # Errors
    /// No log, or none with an address.
    pub fn rekor_url(&self) -> Result<&str, TrustedRootError> {
        if self.urls.is_empty() {
            return Err(TrustedRootError::Missing(
                "no transparency log entries found in trusted root",
            ));
        }
        let mut urls = self.urls.iter();
        let url = urls.find(|url| !url.is_empty());
        url.map(String::as_str).ok_or(TrustedRootError::Missing(
            "no transparency log entry with a BaseURL found in trusted root",
        ))
    }

    /// How many authorities, certificate logs, logs of Rekor and timestamp authorities there are.
    pub fn counts(&self) -> [usize; 4] {
        [
            self.authorities.len(),
            self.certificate_logs.len(),
            self.rekor.len(),
            self.timestamps.len(),
        ]
    }

    /// The digest of the document.
    pub(crate) fn digest(&self) -> &[u8] {
        &self.digest
    }

    pub(crate) fn rekor(&self, id: &[u8]) -> Option<&Log> {
        self.rekor.get(id)
    }

    pub(crate) fn certificate_log(&self, id: &[u8]) -> Option<&Log> {
        self.certificate_logs.get(id)
    }

    /// The chain of a signing certificate to an authority that is trusted at this time, as `VerifyLeafCertificate`.
    pub(crate) fn chain(&self, leaf: &Arc<Certificate>, at: i64) -> Option<Vec<Arc<Certificate>>> {
        let authorities = self.authorities.iter();
        let mut trusted = authorities.filter(|authority| authority.valid.contains(at));
        trusted.find_map(|authority| {
            let roots = [Arc::clone(&authority.root)];
            chain(
                leaf,
                &roots,
                &authority.intermediates,
                at,
                USAGE_CODE_SIGNING,
                crate::x509::ALTERNATIVE_NAMES,
            )
            .ok()
        })
    }

    /// The time of a timestamp over a message by an authority that is trusted at that time, with the authority's address.
    pub(crate) fn stamp(&self, response: &[u8], message: &[u8]) -> Option<(Stamp, &str)> {
        let token = Token::from_response(response)?;
        let stamp = token.stamp_of(message)?;
        let authority = self.timestamps.iter().find(|authority| {
            authority.valid.contains(stamp.time)
                && token.verify_sigstore(
                    authority.leaf.as_ref(),
                    &authority.root,
                    &authority.intermediates,
                )
        })?;
        Some((stamp, &authority.uri))
    }
}

fn authorities(
    all: Vec<AuthorityDocument>,
    timestamps: bool,
) -> Result<Vec<Authority>, TrustedRootError> {
    let read = |(at, document): (usize, AuthorityDocument)| {
        let chain = document.cert_chain;
        let chain = chain.ok_or(TrustedRootError::Missing(
            "CertificateAuthority missing cert chain",
        ))?;
        if chain.certificates.len() > MAX_CHAIN {
            return Err(TrustedRootError::TooLarge);
        }
        let mut certificates = Vec::new();
        for raw in chain.certificates {
            let parsed = Certificate::parse(&raw.raw_bytes.0);
            certificates.push(parsed.map_err(|why| TrustedRootError::Certificate {
                authority: at + 1,
                why: why.to_string(),
            })?);
        }
        let is_leaf = |one: &Arc<Certificate>| one.constraints.is_none_or(|(ca, _)| !ca);
        let leaf = match certificates.first() {
            Some(first) if timestamps && certificates.len() > 1 && is_leaf(first) => {
                Some(certificates.remove(0))
            }
            _ => None,
        };
        let root = certificates.pop().ok_or(TrustedRootError::Missing(
            "CertificateAuthority cert chain is empty",
        ))?;
        Ok(Authority {
            uri: document.uri,
            leaf,
            intermediates: certificates,
            root,
            valid: document.valid_for.unwrap_or_default(),
        })
    };
    all.into_iter().enumerate().map(read).collect()
}

fn logs(all: Vec<LogDocument>) -> Result<BTreeMap<Vec<u8>, Log>, TrustedRootError> {
    let mut logs = BTreeMap::new();
    for document in all {
        if document.hash_algorithm != "SHA2_256" {
            return Err(TrustedRootError::Missing(
                "unsupported hash function for the tlog",
            ));
        }
        let id = document
            .log_id
            .ok_or(TrustedRootError::Missing("tlog missing log ID"))?;
        let key = document
            .public_key
            .ok_or(TrustedRootError::Missing("tlog missing public key"))?;
        let valid = key.valid_for.ok_or(TrustedRootError::Missing(
            "tlog missing public key validity period",
        ))?;
        if valid.start.is_none() {
            return Err(TrustedRootError::Missing(
                "tlog missing public key validity period start time",
            ));
        }
        let raw = &key.raw_bytes.0;
        let parsed = match &*key.key_details {
            "PKCS1_RSA_PKCS1V5" => PublicKey::from_pkcs1(raw),
            "PKIX_ECDSA_P256_SHA_256"
            | "PKIX_ECDSA_P384_SHA_384"
            | "PKIX_ECDSA_P521_SHA_512"
            | "PKIX_RSA_PKCS1V15_2048_SHA256"
            | "PKIX_RSA_PKCS1V15_3072_SHA256"
            | "PKIX_RSA_PKCS1V15_4096_SHA256"
            | "PKIX_ED25519" => PublicKey::from_info(raw),
            _ => return Err(TrustedRootError::Key),
        };
        let key = parsed.map_err(|_| TrustedRootError::Key)?;
        let log = Log {
            url: document.base_url,
            key,
            valid,
        };
        logs.insert(id.key_id.0, log);
    }
    Ok(logs)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(default, alias = "media_type")]
    media_type: String,
    #[serde(default)]
    tlogs: Vec<LogDocument>,
    #[serde(default, alias = "certificate_authorities")]
    certificate_authorities: Vec<AuthorityDocument>,
    #[serde(default)]
    ctlogs: Vec<LogDocument>,
    #[serde(default, alias = "timestamp_authorities")]
    timestamp_authorities: Vec<AuthorityDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LogDocument {
    #[serde(default, alias = "base_url")]
    base_url: String,
    #[serde(default, alias = "hash_algorithm")]
    hash_algorithm: String,
    #[serde(alias = "public_key")]
    public_key: Option<KeyDocument>,
    #[serde(alias = "log_id")]
    log_id: Option<Id>,
    #[serde(default, alias = "checkpoint_key_id", rename = "checkpointKeyId")]
    _checkpoint_key_id: Option<Id>,
    #[serde(default, rename = "operator")]
    _operator: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Id {
    #[serde(alias = "key_id")]
    key_id: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyDocument {
    #[serde(default, alias = "raw_bytes")]
    raw_bytes: Bytes,
    #[serde(default, alias = "key_details")]
    key_details: String,
    #[serde(alias = "valid_for")]
    valid_for: Option<Validity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AuthorityDocument {
    #[serde(default, rename = "subject")]
    _subject: Option<serde_json::Value>,
    #[serde(default)]
    uri: String,
    #[serde(alias = "cert_chain")]
    cert_chain: Option<Chain>,
    #[serde(alias = "valid_for")]
    valid_for: Option<Validity>,
    #[serde(default, rename = "operator")]
    _operator: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chain {
    #[serde(default)]
    certificates: Vec<Raw>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    #[serde(default, alias = "raw_bytes")]
    raw_bytes: Bytes,
}
