//! Validation of release names.

use sha2::{Digest as _, Sha256};

/// Why a name is invalid. The text is Helm's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("no name provided")]
    Missing,
    /// It is too long or has invalid characters.
    #[error(
        "invalid release name, must match regex ^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$ and the length must not be longer than 53"
    )]
    Invalid,
}

/// Maximum bytes of a release's name.
pub const MAX_NAME_BYTES: usize = 53;

/// The name, or if it is too long its first 40 bytes, a dash, and the first twelve digits of its SHA-256 (HC-ACT-023).
pub fn shorten_name(name: &str) -> String {
    const DIGITS: usize = 12;
    if name.len() <= MAX_NAME_BYTES {
        return name.to_owned();
    }
    let kept = name.as_bytes().get(..MAX_NAME_BYTES - DIGITS - 1);
    let kept = String::from_utf8_lossy(kept.unwrap_or_default());
    let digest = hex::encode(Sha256::digest(name));
    format!("{kept}-{}", digest.get(..DIGITS).unwrap_or_default())
}

/// Checks a release's name (HE-ACT-002): labels of lower-case letters, digits and dashes, joined by dots.
///
/// # Errors
/// The name is empty, too long or has invalid characters.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Missing);
    }
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(|b| inner(*b))
            && bytes.last().is_some_and(|b| inner(*b))
            && bytes.iter().all(|b| inner(*b) || *b == b'-')
    };
    if name.len() > MAX_NAME_BYTES || !name.split('.').all(label) {
        return Err(NameError::Invalid);
    }
    Ok(())
}
