//! Fingerprints of verification material: whether the keys that verified an artifact are still the same (SC-VER-060).

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Collects the material of one verifier. Its parts have no order and no names: only their kinds and contents count.
///
/// ```
/// use flux_signature::Fingerprint;
///
/// let one = Fingerprint::new("git").with("pgp", b"a").with("ssh", b"b").finish();
/// let other = Fingerprint::new("git").with("ssh", b"b").with("pgp", b"a").finish();
/// assert_eq!(one, other);
/// assert!(one.starts_with("sha256:"));
/// ```
#[derive(Debug, Clone)]
pub struct Fingerprint {
    purpose: &'static str,
    /// Digests of the parts: the contents are not kept, since they may be secret by mistake.
    parts: Vec<[u8; 32]>,
}

impl Fingerprint {
    /// No material yet. The purpose keeps the same bytes apart where they mean something else.
    pub fn new(purpose: &'static str) -> Self {
        let parts = Vec::new();
        Self { purpose, parts }
    }

    /// Adds a part, such as a key.
    #[must_use]
    pub fn with(mut self, kind: &str, content: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update((kind.len() as u64).to_be_bytes());
        hash.update(kind);
        hash.update(content);
        self.parts.push(hash.finalize().into());
        self
    }

    /// The fingerprint: `sha256:` and 64 hexadecimal digits. Parts that are there twice count once.
    pub fn finish(mut self) -> String {
        self.parts.sort_unstable();
        self.parts.dedup();
        let mut hash = Sha256::new();
        hash.update(self.purpose);
        for part in self.parts {
            hash.update([0]);
            hash.update(part);
        }
        let mut text = "sha256:".to_owned();
        for byte in hash.finalize() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SC-VER-060: neither names nor order, but contents and their kinds.
    #[test]
    fn only_kinds_and_contents_count() {
        let of = |parts: &[(&str, &[u8])]| {
            let mut fingerprint = Fingerprint::new("git");
            for (kind, content) in parts {
                fingerprint = fingerprint.with(kind, content);
            }
            fingerprint.finish()
        };
        let one = of(&[("pgp", b"a"), ("ssh", b"b")]);
        assert_eq!(one, of(&[("ssh", b"b"), ("pgp", b"a"), ("ssh", b"b")]));
        for other in [
            of(&[]),
            of(&[("pgp", b"a")]),
            of(&[("pgp", b"b"), ("ssh", b"a")]),
            of(&[("pgp", b"a"), ("ssh", b"b"), ("ssh", b"c")]),
            of(&[("pgpa", b""), ("ssh", b"b")]),
            Fingerprint::new("other")
                .with("pgp", b"a")
                .with("ssh", b"b")
                .finish(),
        ] {
            assert_ne!(one, other);
        }
    }
}
