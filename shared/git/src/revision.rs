//! Hashes and revisions as text.

use std::fmt;

/// The hash of a commit or tag, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(String);

impl Hash {
    /// A hash with this text, which is not validated.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// `sha1` for forty characters, else `<unknown>` (RT-ART-022).
    pub fn algorithm(&self) -> &'static str {
        if self.0.len() == 40 {
            "sha1"
        } else {
            "<unknown>"
        }
    }

    /// `<algorithm>:<hash>`, or an empty text for an empty hash.
    pub fn digest(&self) -> String {
        if self.0.is_empty() {
            String::new()
        } else {
            format!("{}:{}", self.algorithm(), self.0)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits a revision into its branch, tag or reference, if any, and its hash. Accepts the current form
/// (`main@sha1:<hex>`, `sha1:<hex>`) and the old one (`main/<hex>`, `HEAD/<hex>`, RT-ART-023).
pub fn split_revision(revision: &str) -> (Option<&str>, Hash) {
    let name = match (revision.rfind('@'), revision.rfind('/')) {
        (Some(at), _) => Some(&revision[..at]),
        (None, Some(slash)) if &revision[..slash] != "HEAD" => Some(&revision[..slash]),
        _ => None,
    };
    let hash = match (revision.rfind(':'), revision.rfind('/')) {
        (Some(colon), _) => &revision[colon + 1..],
        (None, Some(slash)) => &revision[slash + 1..],
        (None, None) => revision,
    };
    (name.filter(|name| !name.is_empty()), Hash::new(hash))
}

/// Converts a revision to the current form (SC-GIT-061).
pub fn transform_revision(revision: &str) -> String {
    if revision.is_empty() || revision.contains(':') {
        return revision.to_owned();
    }
    let (name, hash) = split_revision(revision);
    match name {
        Some(name) => format!("{name}@{}", hash.digest()),
        None => hash.digest(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const HEX: &str = "5394cb7f48332b2de7c17dd8b8384bbc84b7e738";

    // RT-ART-022, RT-ART-023, SC-GIT-061
    #[rstest]
    #[case("main@sha1:HEX", Some("main"), "main@sha1:HEX")]
    #[case(
        "feature/branch@sha1:HEX",
        Some("feature/branch"),
        "feature/branch@sha1:HEX"
    )]
    #[case(
        "refs/pull/420/head@sha1:HEX",
        Some("refs/pull/420/head"),
        "refs/pull/420/head@sha1:HEX"
    )]
    #[case("sha1:HEX", None, "sha1:HEX")]
    #[case("main/HEX", Some("main"), "main@sha1:HEX")]
    #[case(
        "feature/branch/HEX",
        Some("feature/branch"),
        "feature/branch@sha1:HEX"
    )]
    #[case("HEAD/HEX", None, "sha1:HEX")]
    #[case("HEX", None, "sha1:HEX")]
    fn forms(#[case] text: &str, #[case] name: Option<&str>, #[case] present: &str) {
        let (text, present) = (text.replace("HEX", HEX), present.replace("HEX", HEX));
        assert_eq!(split_revision(&text), (name, Hash::new(HEX)));
        assert_eq!(transform_revision(&text), present);
    }

    #[test]
    fn hashes_and_revisions_are_formatted() {
        // RT-ART-022
        assert_eq!(Hash::new("abc").digest(), "<unknown>:abc");
        assert_eq!(Hash::new("").digest(), "");
        assert_eq!(transform_revision(""), "");
    }
}
