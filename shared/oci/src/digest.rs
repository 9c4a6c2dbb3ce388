//! SHA-256 digests of manifests and blobs.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use sha2::{Digest as _, Sha256};

/// The digits of a SHA-256.
const DIGITS: usize = 64;

/// The digest of a manifest or blob, `sha256:<hex>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

/// Why a text is not a digest, with go-containerregistry's texts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// There is no algorithm or no value.
    #[error("cannot parse hash: {}", flux_golang::strconv::quote(.0))]
    Format(String),
    /// A digit is not one of `0-9a-f`.
    #[error("found non-hex character in hash: {0}")]
    Digit(char),
    /// The algorithm is not SHA-256.
    #[error("unsupported hash: {}", flux_golang::strconv::quote(.0))]
    Algorithm(String),
    /// The number of digits is not that of the algorithm.
    #[error("wrong number of hex digits for {algorithm}: {value}")]
    Length {
        /// The algorithm.
        algorithm: String,
        /// The digits.
        value: String,
    },
}

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    pub(crate) fn finish(hasher: Sha256) -> Self {
        Self(hex::encode(hasher.finalize()))
    }

    /// The value in lower-case hex, without the algorithm.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let parts = text.split_once(':');
        let parts = parts.filter(|(algorithm, value)| !algorithm.is_empty() && !value.is_empty());
        let Some((algorithm, value)) = parts else {
            return Err(DigestError::Format(text.chars().take(256).collect()));
        };
        let is_digit = |digit: &char| matches!(digit, '0'..='9' | 'a'..='f');
        if let Some(digit) = value.chars().find(|digit| !is_digit(digit)) {
            return Err(DigestError::Digit(digit));
        }
        if algorithm != "sha256" {
            return Err(DigestError::Algorithm(
                algorithm.chars().take(256).collect(),
            ));
        }
        if value.len() != DIGITS {
            return Err(DigestError::Length {
                algorithm: algorithm.to_owned(),
                value: value.chars().take(256).collect(),
            });
        }
        Ok(Self(value.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // SC-OCI-027: the texts of a digest that cannot be used
    #[rstest]
    #[case("", r#"cannot parse hash: """#)]
    #[case("sha256:", r#"cannot parse hash: "sha256:""#)]
    #[case("c2ca", r#"cannot parse hash: "c2ca""#)]
    #[case("sha256:AB", "found non-hex character in hash: A")]
    #[case("sha512:ab", r#"unsupported hash: "sha512""#)]
    #[case("sha256:ab", "wrong number of hex digits for sha256: ab")]
    fn malformed_digests_are_refused(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(text.parse::<Digest>().unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_digest_prints_as_it_was() {
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), Digest::of(b""));
    }
}
