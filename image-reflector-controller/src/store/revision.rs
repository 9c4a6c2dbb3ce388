//! The revisions of tags.

use sha2::{Digest, Sha256};

use crate::tags::Tags;

/// Which of upstream's backends revisions are equal to, so that no policy has to look at unchanged tags again after a change
/// of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevisionForm {
    /// The file-system backend: `sha256:` and the digest of the tags, each ended by a line break (IR-DB-020).
    Files,
    /// The Badger backend: the Adler-32 of the JSON list of the tags, as a decimal number (IR-DB-006).
    Badger,
}

/// The modulus of Adler-32.
const MODULUS: u32 = 65_521;

impl RevisionForm {
    /// The revision of tags.
    pub(super) fn revision(self, tags: &Tags) -> String {
        match self {
            Self::Files => format!("sha256:{}", hex::encode(Sha256::digest(tags.lines()))),
            Self::Badger => {
                let mut sum = Adler { a: 1, b: 0 };
                sum.add(b"[");
                for (at, tag) in tags.iter().enumerate() {
                    sum.add(if at == 0 { b"\"" } else { b",\"" });
                    sum.add(tag.as_bytes());
                    sum.add(b"\"");
                }
                sum.add(b"]");
                ((sum.b << 16) | sum.a).to_string()
            }
        }
    }
}

/// Adler-32 (RFC 1950).
struct Adler {
    a: u32,
    b: u32,
}

impl Adler {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.a = (self.a + u32::from(*byte)) % MODULUS;
            self.b = (self.b + self.a) % MODULUS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // IR-DB-006, IR-DB-020: as Go computes them
    #[test]
    fn revisions_match_upstream() {
        let tags = Tags::of_lines("v1.1.0\nv1.0.0\n".to_owned());
        assert_eq!(RevisionForm::Badger.revision(&tags), "728237108");
        assert_eq!(
            RevisionForm::Files.revision(&tags),
            "sha256:e366b3978bba0d338c9a38a72449d1b8dcc253a09298faba49bc89e48942df11"
        );
        let none = Tags::default();
        assert_eq!(RevisionForm::Badger.revision(&none), "18153657");
        assert_eq!(
            RevisionForm::Files.revision(&none),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
