//! Sigstore bundles: a signature with all that is needed to verify it.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::rekor::Content;
use crate::protojson::{Bytes, Int64, List, Table};
use crate::x509::Certificate;

/// The beginning of the media types of bundles in manifests.
pub(super) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle";
/// The payload type of in-toto statements.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The maximum size of a bundle.
pub(super) const MAX_BYTES: usize = 16 << 20;
/// The maximum number of log entries, and of timestamps.
const MAX_ENTRIES: usize = 32;
/// The maximum number of certificates of a chain, and of hashes of a proof.
const MAX_CERTIFICATES: usize = 16;
const MAX_HASHES: usize = 64;
/// The maximum number of subjects of a statement, and of digests of one.
const MAX_SUBJECTS: usize = 1024;
const MAX_DIGESTS: usize = 32;

/// Why bytes are not a bundle that can be verified. A registry may hold others: they are skipped (SC-VER-037).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// More than 16 MiB.
    #[error("bundle is too large")]
    TooLarge,
    /// Not JSON, or not of this shape.
    #[error("invalid bundle: {0}")]
    Json(String),
    /// A version that is neither 0.1, 0.2 nor 0.3.
    #[error("validation error: unsupported media type: {0}")]
    MediaType(String),
    /// A required part is missing or malformed.
    #[error("invalid bundle: {0}")]
    Invalid(&'static str),
}

/// A bundle, read but not verified.
#[derive(Debug, Clone)]
pub struct Bundle {
    pub(super) signer: Signer,
    pub(super) entries: Vec<Entry>,
    pub(super) timestamps: Vec<Vec<u8>>,
    pub(super) signed: Signed,
}

/// By whom a bundle says it is signed.
#[derive(Debug, Clone)]
pub(super) enum Signer {
    Key,
    Certificate(Arc<Certificate>),
}

/// What is signed, with the signature.
#[derive(Debug, Clone)]
pub(super) enum Signed {
    Envelope {
        kind: String,
        payload: Vec<u8>,
        signatures: Vec<Vec<u8>>,
    },
    Message {
        algorithm: String,
        digest: Vec<u8>,
        signature: Vec<u8>,
    },
}

/// An entry of a transparency log.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) log_id: Vec<u8>,
    pub(super) index: i64,
    pub(super) integrated: i64,
    pub(super) promise: Option<Vec<u8>>,
    pub(super) proof: Option<Proof>,
    pub(super) body: Vec<u8>,
    pub(super) content: Content,
}

/// The proof that an entry is in a log.
#[derive(Debug, Clone)]
pub(super) struct Proof {
    pub(super) index: i64,
    pub(super) size: i64,
    pub(super) root: Vec<u8>,
    pub(super) hashes: Vec<Vec<u8>>,
    pub(super) checkpoint: String,
}

impl Bundle {
    /// Reads a bundle of version 0.1, 0.2 or 0.3.
    ///
    /// # Errors
    /// If it is not one, or has more parts than a real one can have.
    pub fn parse(json: &[u8]) -> Result<Self, BundleError> {
        if json.len() > MAX_BYTES {
            return Err(BundleError::TooLarge);
        }
        let document: Document =
            serde_json::from_slice(json).map_err(|error| BundleError::Json(error.to_string()))?;
        let version = version(&document.media_type)
            .ok_or_else(|| BundleError::MediaType(document.media_type.clone()))?;
        let material = document.verification_material;
        let material = material.ok_or(BundleError::Invalid("missing verification material"))?;
        let stamps = material.timestamp_verification_data.unwrap_or_default();
        let stamps = stamps.rfc3161_timestamps.0;
        let signer = match (
            material.public_key,
            material.certificate,
            material.x509_certificate_chain,
        ) {
            (Some(_), None, None) => Signer::Key,
            (None, Some(raw), None) => Signer::Certificate(certificate(&raw.raw_bytes.0)?),
            (None, None, Some(_)) if version >= 3 => {
                return Err(BundleError::Invalid(
                    "verification material cannot be X.509 certificate chain (for bundle v0.3)",
                ));
            }
            (None, None, Some(chain)) => {
                let first = chain.certificates.0.first();
                let first = first.ok_or(BundleError::Invalid("missing verification material"))?;
                Signer::Certificate(certificate(&first.raw_bytes.0)?)
            }
            _ => return Err(BundleError::Invalid("missing verification material")),
        };
        let entries: Vec<Entry> = material
            .tlog_entries
            .0
            .into_iter()
            .map(entry)
            .collect::<Option<_>>()
            .ok_or(BundleError::Invalid("malformed log entry"))?;
        let promised = entries.iter().any(|entry| entry.promise.is_some());
        let proven = entries.iter().any(|entry| entry.proof.is_some());
        if !entries.is_empty() && version == 1 && !promised {
            return Err(BundleError::Invalid(
                "inclusion promises missing in bundle (required for bundle v0.1)",
            ));
        }
        if !entries.is_empty() && version > 1 && !proven {
            return Err(BundleError::Invalid(
                "inclusion proof missing in bundle (required for bundle v0.2)",
            ));
        }
        let signed = match (document.dsse_envelope, document.message_signature) {
            (Some(envelope), None) => Signed::Envelope {
                kind: envelope.payload_type,
                payload: envelope.payload.0,
                signatures: envelope
                    .signatures
                    .0
                    .into_iter()
                    .map(|one| one.sig.0)
                    .collect(),
            },
            (None, Some(message)) => {
                let digest = message.message_digest;
                let digest = digest.ok_or(BundleError::Invalid("missing message digest"))?;
                Signed::Message {
                    algorithm: digest.algorithm,
                    digest: digest.digest.0,
                    signature: message.signature.0,
                }
            }
            _ => return Err(BundleError::Invalid("missing bundle content")),
        };
        Ok(Self {
            signer,
            entries,
            timestamps: stamps
                .into_iter()
                .map(|one| one.signed_timestamp.0)
                .collect(),
            signed,
        })
    }

    /// The first signature.
    pub(super) fn signature(&self) -> &[u8] {
        match &self.signed {
            Signed::Envelope { signatures, .. } => signatures.first().map_or(&[], Vec::as_slice),
            Signed::Message { signature, .. } => signature,
        }
    }
}

/// What is signed of a DSSE envelope.
pub(super) fn pre_authentication(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Whether an in-toto statement names an artifact by this digest. `None` if the payload is not a statement.
pub(super) fn statement_names(
    kind: &str,
    payload: &[u8],
    algorithm: &str,
    digest: &str,
) -> Option<bool> {
    if kind != IN_TOTO {
        return None;
    }
    let statement: Statement = serde_json::from_slice(payload).ok()?;
    let mut named = false;
    for subject in statement.subject.0 {
        for (kind, value) in subject.digest.0 {
            let value = hex::decode(value).ok()?;
            named |= kind == algorithm && hex::encode(value) == digest;
        }
    }
    Some(named)
}

/// The minor version of a media type.
fn version(media_type: &str) -> Option<u8> {
    let rest = media_type.strip_prefix(MEDIA_TYPE)?;
    let version = rest.strip_prefix("+json;version=0.").or_else(|| {
        let version = rest.strip_prefix(".v0.")?.strip_suffix("+json")?;
        Some(version.strip_suffix(".0").unwrap_or(version))
    });
    match version? {
        "1" => Some(1),
        "2" => Some(2),
        "3" => Some(3),
        _ => None,
    }
}

fn certificate(der: &[u8]) -> Result<Arc<Certificate>, BundleError> {
    Certificate::parse(der).map_err(|_| BundleError::Invalid("malformed certificate"))
}

fn entry(document: EntryDocument) -> Option<Entry> {
    let proof = match document.inclusion_proof {
        None => None,
        Some(proof) => Some(Proof {
            index: proof.log_index.0,
            size: proof.tree_size.0,
            root: proof.root_hash.0,
            hashes: proof.hashes.0.into_iter().map(|hash| hash.0).collect(),
            checkpoint: proof.checkpoint?.envelope,
        }),
    };
    if proof
        .as_ref()
        .is_some_and(|proof| proof.checkpoint.is_empty())
    {
        return None;
    }
    document.kind_version?;
    let promise = document.inclusion_promise;
    let promise = promise.map(|promise| promise.signed_entry_timestamp.0);
    let body = document.canonicalized_body.0;
    (document.log_index.0 >= 0).then_some(Entry {
        log_id: document.log_id?.key_id.0,
        index: document.log_index.0,
        integrated: document.integrated_time.0,
        promise: promise.filter(|promise| !promise.is_empty()),
        proof,
        content: Content::parse(&body)?,
        body,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(default, alias = "media_type")]
    media_type: String,
    #[serde(alias = "verification_material")]
    verification_material: Option<Material>,
    #[serde(alias = "dsse_envelope")]
    dsse_envelope: Option<Envelope>,
    #[serde(alias = "message_signature")]
    message_signature: Option<Message>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Material {
    #[serde(alias = "public_key")]
    public_key: Option<KeyHint>,
    certificate: Option<Raw>,
    #[serde(alias = "x509_certificate_chain")]
    x509_certificate_chain: Option<Chain>,
    #[serde(default, alias = "tlog_entries")]
    tlog_entries: List<EntryDocument, MAX_ENTRIES>,
    #[serde(alias = "timestamp_verification_data")]
    timestamp_verification_data: Option<Stamps>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyHint {
    #[serde(default, rename = "hint")]
    _hint: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    #[serde(default, alias = "raw_bytes")]
    raw_bytes: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chain {
    #[serde(default)]
    certificates: List<Raw, MAX_CERTIFICATES>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stamps {
    #[serde(default, rename = "rfc3161Timestamps", alias = "rfc3161_timestamps")]
    rfc3161_timestamps: List<StampDocument, MAX_ENTRIES>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StampDocument {
    #[serde(default, alias = "signed_timestamp")]
    signed_timestamp: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EntryDocument {
    #[serde(default, alias = "log_index")]
    log_index: Int64,
    #[serde(alias = "log_id")]
    log_id: Option<LogId>,
    #[serde(alias = "kind_version")]
    kind_version: Option<KindVersion>,
    #[serde(default, alias = "integrated_time")]
    integrated_time: Int64,
    #[serde(alias = "inclusion_promise")]
    inclusion_promise: Option<Promise>,
    #[serde(alias = "inclusion_proof")]
    inclusion_proof: Option<ProofDocument>,
    #[serde(alias = "canonicalized_body")]
    canonicalized_body: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LogId {
    #[serde(alias = "key_id")]
    key_id: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KindVersion {
    #[serde(default, rename = "kind")]
    _kind: String,
    #[serde(default, rename = "version")]
    _version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Promise {
    #[serde(default, alias = "signed_entry_timestamp")]
    signed_entry_timestamp: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProofDocument {
    #[serde(default, alias = "log_index")]
    log_index: Int64,
    #[serde(default, alias = "root_hash")]
    root_hash: Bytes,
    #[serde(default, alias = "tree_size")]
    tree_size: Int64,
    #[serde(default)]
    hashes: List<Bytes, MAX_HASHES>,
    checkpoint: Option<CheckpointDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointDocument {
    #[serde(default)]
    envelope: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope {
    payload: Bytes,
    #[serde(default)]
    payload_type: String,
    #[serde(default)]
    signatures: List<EnvelopeSignature, MAX_ENTRIES>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignature {
    #[serde(default)]
    sig: Bytes,
    #[serde(default, rename = "keyid")]
    _keyid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Message {
    #[serde(alias = "message_digest")]
    message_digest: Option<MessageDigest>,
    #[serde(default)]
    signature: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageDigest {
    #[serde(default)]
    algorithm: String,
    #[serde(default)]
    digest: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Statement {
    #[serde(default, rename = "_type", alias = "type")]
    _kind: String,
    #[serde(default)]
    subject: List<Subject, MAX_SUBJECTS>,
    #[serde(default, rename = "predicateType", alias = "predicate_type")]
    _predicate_type: String,
    #[serde(default, rename = "predicate")]
    _predicate: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Subject {
    #[serde(default, rename = "name")]
    _name: String,
    #[serde(default, rename = "uri")]
    _uri: String,
    #[serde(default)]
    digest: Table<MAX_DIGESTS>,
    #[serde(default, rename = "content")]
    _content: Bytes,
    #[serde(default, rename = "downloadLocation", alias = "download_location")]
    _download_location: String,
    #[serde(default, rename = "mediaType", alias = "media_type")]
    _media_type: String,
    #[serde(default, rename = "annotations")]
    _annotations: Option<IgnoredAny>,
}
