//! Encoding of releases in the Secrets in which Helm stores them.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{Release, to_go_json};

/// The type of the Secrets with records.
pub const SECRET_TYPE: &str = "helm.sh/release.v1";
/// Labels that Helm sets itself (HE-REL-013).
pub const SYSTEM_LABELS: [&str; 6] = [
    "name",
    "owner",
    "status",
    "version",
    "createdAt",
    "modifiedAt",
];
/// Maximum bytes of a record's JSON. Helm has no limit; a Secret holds about 1 MiB of compressed JSON.
pub const MAX_RECORD_BYTES: u64 = 512 * 1024 * 1024;

const GZIP_MAGIC: &[u8] = b"\x1f\x8b\x08";

/// A stored record cannot be read, or a record cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The value is not base64.
    #[error("release record is not base64")]
    Base64(#[from] base64::DecodeError),
    /// The content is not valid gzip, or larger than [`MAX_RECORD_BYTES`].
    #[error("release record cannot be unpacked")]
    Gzip(#[source] std::io::Error),
    /// The content is not a release.
    #[error("release record is not the JSON of a release")]
    Json(#[from] serde_json::Error),
}

/// The value of a Secret's `release` key, before Kubernetes' own base64: JSON, gzip, base64 (HE-REL-012).
pub fn encode(release: &Release) -> Result<String, RecordError> {
    let json = to_go_json(release)?;
    Ok(STANDARD.encode(pack(&json).map_err(RecordError::Gzip)?))
}

/// Compresses as well as Go does: a record that fits into a Secret there has to fit here.
fn pack(json: &[u8]) -> std::io::Result<Vec<u8>> {
    let at = |level| {
        let mut packed = GzEncoder::new(Vec::new(), level);
        packed.write_all(json)?;
        packed.finish()
    };
    let best = at(Compression::best())?;
    // In what hardly repeats itself, the matches of three bytes that only the highest level looks for cost more than they
    // save. Go looks for none.
    if best.len() < json.len() / 2 {
        return Ok(best);
    }
    let without_short_matches = at(Compression::new(8))?;
    Ok(std::cmp::min_by_key(best, without_short_matches, Vec::len))
}

/// Decodes the output of [`encode`] or of any Helm 3 or 4, also uncompressed records.
pub fn decode(data: &[u8]) -> Result<Release, RecordError> {
    // Go's decoder ignores line breaks.
    let data: Vec<u8> = data
        .iter()
        .copied()
        .filter(|b| !matches!(b, b'\r' | b'\n'))
        .collect();
    let packed = STANDARD.decode(data)?;
    if packed.len() <= 3 || !packed.starts_with(GZIP_MAGIC) {
        return Ok(serde_json::from_slice(&packed)?);
    }
    let mut json = Vec::new();
    MultiGzDecoder::new(packed.as_slice())
        .take(MAX_RECORD_BYTES + 1)
        .read_to_end(&mut json)
        .map_err(RecordError::Gzip)?;
    if json.len() as u64 > MAX_RECORD_BYTES {
        let reason = format!("more than {MAX_RECORD_BYTES} bytes");
        return Err(RecordError::Gzip(std::io::Error::other(reason)));
    }
    Ok(serde_json::from_slice(&json)?)
}

/// The name of the Secret that holds a revision.
pub fn secret_name(release: &str, revision: i64) -> String {
    format!("sh.helm.release.v1.{release}.v{revision}")
}

/// The labels of the Secret: the release's own, overridden by Helm's. Helm also sets `createdAt` on creation and
/// `modifiedAt` on update, in seconds since 1970; the caller adds those.
pub fn secret_labels(release: &Release) -> BTreeMap<String, String> {
    let mut labels = release.labels.clone();
    let status = release.info.as_ref().and_then(|info| info.status);
    let own = [
        ("name", release.name.clone()),
        ("owner", "helm".to_owned()),
        (
            "status",
            status.map_or_else(String::new, |status| status.to_string()),
        ),
        ("version", release.revision.to_string()),
    ];
    labels.extend(own.map(|(key, value)| (key.to_owned(), value)));
    labels
}
