//! Commits and tags as the controllers see them.

use crate::revision::Hash;

/// An author, committer or tagger, with a time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The mail address.
    pub email: String,
    /// Seconds since 1970.
    pub seconds: i64,
    /// The offset from UTC, in seconds.
    pub offset: i32,
}

impl Person {
    /// Parses `Name <mail> seconds offset`; malformed parts stay empty.
    fn parse(line: &[u8]) -> Self {
        let line = String::from_utf8_lossy(line);
        let (Some(open), Some(close)) = (line.rfind('<'), line.rfind('>')) else {
            return Self::default();
        };
        if close < open {
            return Self::default();
        }
        let mut words = line[close + 1..].split_whitespace();
        let seconds = words
            .next()
            .and_then(|word| word.parse().ok())
            .unwrap_or_default();
        let offset = words.next().and_then(parse_offset).unwrap_or_default();
        Self {
            name: line[..open].trim_matches(' ').to_owned(),
            email: line[open + 1..close].to_owned(),
            seconds,
            offset,
        }
    }
}

fn parse_offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
    Some(sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60))
}

/// An annotated or lightweight tag.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tag {
    /// The hash of the tag object; `None` for a lightweight tag.
    pub hash: Option<Hash>,
    /// The name.
    pub name: String,
    /// Who created it.
    pub tagger: Person,
    /// The armored signature; empty without one.
    pub signature: String,
    /// The signed payload: the object without its signature. Empty for a lightweight tag.
    pub encoded: Vec<u8>,
    /// The message without the signature.
    pub message: String,
}

impl Tag {
    /// Parses a tag object.
    pub(crate) fn parse(hash: Hash, raw: &[u8]) -> Self {
        let signature_at = signature_start(raw);
        let signed = signature_at.map_or(raw, |at| &raw[..at]);
        let headers = Headers::parse(signed);
        Self {
            hash: Some(hash),
            name: headers.text("tag"),
            tagger: headers
                .get("tagger")
                .map(|line| Person::parse(&line))
                .unwrap_or_default(),
            signature: signature_at.map_or_else(String::new, |at| {
                String::from_utf8_lossy(&raw[at..]).into_owned()
            }),
            encoded: headers.without_signatures,
            message: String::from_utf8_lossy(headers.body).into_owned(),
        }
    }

    /// A lightweight tag.
    pub(crate) fn lightweight(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Whether it has a signature (SC-VER-009).
    pub fn is_signed(&self) -> bool {
        !self.signature.is_empty()
    }
}

impl std::fmt::Display for Tag {
    /// `<name>@<hash>`, or the name of a lightweight tag.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.hash {
            Some(hash) => write!(f, "{}@{hash}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A commit. A listing only provides its hash and reference; then `encoded` is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The hash.
    pub hash: Hash,
    /// The full reference that it was found by; empty for a bare commit.
    pub reference: String,
    /// Who wrote it.
    pub author: Person,
    /// Who committed it.
    pub committer: Person,
    /// The armored signature; empty without one.
    pub signature: String,
    /// The signed payload: the object without its signature (SC-VER-016).
    pub encoded: Vec<u8>,
    /// The message.
    pub message: String,
    /// The tag that it was found by.
    pub referencing_tag: Option<Tag>,
}

impl Commit {
    /// Parses a commit object.
    pub(crate) fn parse(hash: Hash, reference: &str, raw: &[u8]) -> Self {
        let headers = Headers::parse(raw);
        Self {
            hash,
            reference: reference.to_owned(),
            author: headers
                .get("author")
                .map(|line| Person::parse(&line))
                .unwrap_or_default(),
            committer: headers
                .get("committer")
                .map(|line| Person::parse(&line))
                .unwrap_or_default(),
            signature: headers.text("gpgsig"),
            message: String::from_utf8_lossy(headers.body).into_owned(),
            encoded: headers.without_signatures,
            referencing_tag: None,
        }
    }

    /// A commit of which only hash and reference are known.
    pub(crate) fn listed(hash: Hash, reference: &str) -> Self {
        Self {
            hash,
            reference: reference.to_owned(),
            author: Person::default(),
            committer: Person::default(),
            signature: String::new(),
            encoded: Vec::new(),
            message: String::new(),
            referencing_tag: None,
        }
    }

    /// Whether the whole commit is known, not only its hash.
    pub fn is_concrete(&self) -> bool {
        !self.encoded.is_empty()
    }

    /// The revision with the short name: `main@sha1:<hex>`, or `sha1:<hex>` (RT-ART-022).
    pub fn revision(&self) -> String {
        match self.reference.splitn(3, '/').nth(2) {
            Some(short) => format!("{short}@{}", self.hash.digest()),
            None => self.hash.digest(),
        }
    }

    /// The revision with the full reference: `refs/heads/main@sha1:<hex>` (SC-GIT-049).
    pub fn absolute_revision(&self) -> String {
        if self.reference.is_empty() {
            self.hash.digest()
        } else {
            format!("{}@{}", self.reference, self.hash.digest())
        }
    }

    /// The first line of the message, truncated to fifty characters with `...` (SC-GIT-112).
    pub fn short_message(&self) -> String {
        let subject = self.message.split('\n').next().unwrap_or_default();
        match subject.char_indices().nth(50) {
            Some((cut, _)) => format!("{}...", &subject[..cut]),
            None => subject.to_owned(),
        }
    }
}

/// The headers of a commit or tag object.
struct Headers<'a> {
    values: Vec<(&'a [u8], Vec<u8>)>,
    body: &'a [u8],
    /// The object without `gpgsig` and `gpgsig-sha256` headers, byte for byte.
    without_signatures: Vec<u8>,
}

impl<'a> Headers<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut values: Vec<(&[u8], Vec<u8>)> = Vec::new();
        let mut without_signatures = Vec::with_capacity(raw.len());
        let mut rest = raw;
        let mut dropping = false;
        while !rest.is_empty() {
            let end = rest
                .iter()
                .position(|&byte| byte == b'\n')
                .map_or(rest.len(), |at| at + 1);
            let (line, after) = rest.split_at(end);
            rest = after;
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            if text.is_empty() {
                without_signatures.extend_from_slice(line);
                break;
            }
            if let Some(continued) = text.strip_prefix(b" ") {
                if let Some((_, value)) = values.last_mut() {
                    value.push(b'\n');
                    value.extend_from_slice(continued);
                }
            } else {
                let space = text
                    .iter()
                    .position(|&byte| byte == b' ')
                    .unwrap_or(text.len());
                let (key, value) = text.split_at(space);
                dropping = matches!(key, b"gpgsig" | b"gpgsig-sha256");
                values.push((key, value.strip_prefix(b" ").unwrap_or(value).to_vec()));
            }
            if !dropping {
                without_signatures.extend_from_slice(line);
            }
        }
        without_signatures.extend_from_slice(rest);
        Self {
            values,
            body: rest,
            without_signatures,
        }
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.values
            .iter()
            .find(|(name, _)| *name == key.as_bytes())
            .map(|(_, value)| value.clone())
    }

    fn text(&self, key: &str) -> String {
        self.get(key).map_or_else(String::new, |value| {
            String::from_utf8_lossy(&value).into_owned()
        })
    }
}

/// The start of the last signature block of a tag.
fn signature_start(raw: &[u8]) -> Option<usize> {
    let mut found = None;
    let mut at = 0;
    for line in raw.split_inclusive(|&byte| byte == b'\n') {
        let begins = [
            b"-----BEGIN PGP SIGNATURE-----".as_slice(),
            b"-----BEGIN PGP MESSAGE-----",
            b"-----BEGIN SSH SIGNATURE-----",
            b"-----BEGIN SIGNED MESSAGE-----",
        ];
        if begins.iter().any(|begin| line.starts_with(begin)) {
            found = Some(at);
        }
        at += line.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A U Thor <a@x> 1700000000 +0130\n\
        committer C <c@x> 1700000001 -0500\ngpgsig -----BEGIN SSH SIGNATURE-----\n line\n -----END SSH SIGNATURE-----\n\
        encoding latin1\n\nsubject\n\nbody\n";

    #[test]
    fn a_commit_is_parsed_with_its_signed_payload() {
        // SC-VER-016
        let hash = Hash::new("a".repeat(40));
        let commit = Commit::parse(hash.clone(), "refs/heads/feature/x", SIGNED.as_bytes());
        assert_eq!(
            (commit.author.name.as_str(), commit.author.email.as_str()),
            ("A U Thor", "a@x")
        );
        assert_eq!(
            (commit.author.seconds, commit.author.offset),
            (1_700_000_000, 5400)
        );
        assert_eq!(commit.committer.offset, -18_000);
        assert_eq!(
            commit.signature,
            "-----BEGIN SSH SIGNATURE-----\nline\n-----END SSH SIGNATURE-----"
        );
        let payload = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A U Thor <a@x> 1700000000 +0130\n\
            committer C <c@x> 1700000001 -0500\nencoding latin1\n\nsubject\n\nbody\n";
        assert_eq!(String::from_utf8(commit.encoded.clone()).unwrap(), payload);
        assert_eq!(commit.message, "subject\n\nbody\n");
        assert_eq!(commit.revision(), format!("feature/x@sha1:{hash}")); // SC-GIT-042
        assert_eq!(
            commit.absolute_revision(),
            format!("refs/heads/feature/x@sha1:{hash}")
        ); // SC-GIT-049
        assert!(commit.is_concrete());
        let bare = Commit::listed(hash.clone(), "");
        assert_eq!(
            (bare.revision(), bare.absolute_revision()),
            (format!("sha1:{hash}"), format!("sha1:{hash}"))
        );
        assert!(!bare.is_concrete());
    }

    #[test]
    fn a_tag_is_parsed_with_its_signed_payload() {
        let signed = "object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype commit\ntag v1\ntagger T <t@x> 1 +0000\n\nmsg\n";
        let signature = "-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n";
        let tag = Tag::parse(
            Hash::new("b".repeat(40)),
            format!("{signed}{signature}").as_bytes(),
        );
        assert_eq!(String::from_utf8(tag.encoded.clone()).unwrap(), signed);
        assert_eq!(
            (
                tag.signature.as_str(),
                tag.message.as_str(),
                tag.name.as_str()
            ),
            (signature, "msg\n", "v1")
        );
        assert_eq!(tag.to_string(), format!("v1@{}", "b".repeat(40)));
        assert!(tag.is_signed() && !Tag::lightweight("v1").is_signed());
        assert_eq!(Tag::lightweight("v1").to_string(), "v1");
    }

    #[test]
    fn invalid_time_zone_offsets_are_ignored() {
        for (text, offset) in [
            ("+0130", Some(5400)),
            ("-9999", Some(-362_340)),
            ("+00795985555", None),
            ("+01-795985555", None),
            ("+1", None),
            ("0130", None),
        ] {
            assert_eq!(parse_offset(text), offset, "{text}");
        }
    }

    #[test]
    fn subjects_are_cut_to_fifty_characters() {
        // SC-GIT-112
        let with = |message: &str| {
            let raw = format!("tree x\n\n{message}");
            Commit::parse(Hash::new(""), "", raw.as_bytes()).short_message()
        };
        assert_eq!(with(&"é".repeat(50)), "é".repeat(50));
        assert_eq!(with(&"é".repeat(51)), format!("{}...", "é".repeat(50)));
        assert_eq!(with("one\ntwo"), "one");
    }

    proptest::proptest! {
        #[test]
        fn parsers_never_panic(raw in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Commit::parse(Hash::new(""), "", &raw);
            let _ = Tag::parse(Hash::new(""), &raw);
        }
    }
}
