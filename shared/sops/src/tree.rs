//! The walk over a tree that decrypts its values, and the code that authenticates all of them (KC-SOPS-022 to KC-SOPS-025).

use flux_golang::regexp::Regex;
use flux_golang::strconv::format_float;
use sha2::{Digest, Sha512};

use crate::cipher::{self, ValueError};
use crate::gcm;
use crate::value::{Branch, Key, Value};

/// Which values of a file are encrypted (KC-SOPS-024). At most one rule is set in a file.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    /// All but those below a key with this end.
    UnencryptedSuffix(Vec<u8>),
    /// Those below a key with this end.
    EncryptedSuffix(Vec<u8>),
    /// All but those below a key that matches.
    UnencryptedRegex(Pattern),
    /// Those below a key that matches.
    EncryptedRegex(Pattern),
    /// All but those with a comment that matches.
    UnencryptedComment(Pattern),
    /// Those with a comment that matches.
    EncryptedComment(Pattern),
}

/// An expression; an invalid one matches nothing, as upstream ignores the error.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Option<Regex>);

impl Pattern {
    pub(crate) fn new(text: &[u8]) -> Self {
        Self(Regex::compile(text).ok())
    }

    fn matches(&self, text: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

impl Rule {
    /// Whether a value is encrypted, by the keys on its path and the comments that apply to it.
    fn is_encrypted(&self, path: &[&[u8]], comments: &Comments, is_comment: bool) -> bool {
        let any_key = |test: &dyn Fn(&[u8]) -> bool| path.iter().any(|key| test(key));
        match self {
            Self::UnencryptedSuffix(suffix) => !any_key(&|key| key.ends_with(suffix)),
            Self::EncryptedSuffix(suffix) => any_key(&|key| key.ends_with(suffix)),
            Self::UnencryptedRegex(pattern) => !any_key(&|key| pattern.matches(key)),
            Self::EncryptedRegex(pattern) => any_key(&|key| pattern.matches(key)),
            Self::UnencryptedComment(pattern) => !comments.any(false, pattern),
            // The comment that turns encryption on is itself not encrypted.
            Self::EncryptedComment(pattern) => comments.any(is_comment, pattern),
        }
    }
}

/// The comments above the value being visited, for each level of the tree.
#[derive(Default)]
struct Comments(Vec<Vec<Vec<u8>>>);

impl Comments {
    fn enter(&mut self) {
        self.0.push(Vec::new());
    }

    fn leave(&mut self) {
        self.0.pop();
    }

    fn add(&mut self, text: &[u8]) {
        if let Some(level) = self.0.last_mut() {
            level.push(text.to_vec());
        }
    }

    fn clear(&mut self) {
        if let Some(level) = self.0.last_mut() {
            level.clear();
        }
    }

    fn any(&self, without_last: bool, pattern: &Pattern) -> bool {
        let all = self.0.iter().flatten();
        let count = all.clone().count();
        let skipped = without_last && self.0.last().is_some_and(|level| !level.is_empty());
        all.take(count - usize::from(skipped))
            .any(|comment| pattern.matches(comment))
    }
}

/// Why a tree could not be decrypted. The texts are upstream's; none holds a value (KC-SOPS-017, KC-SOPS-025).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A value could not be decrypted.
    #[error("Error walking tree: Could not decrypt value: {0}")]
    Value(#[from] ValueError),
    /// A value is no text although its rule says that it is encrypted.
    #[error("Error walking tree: Expected encrypted value as string, but got {0}")]
    NotText(&'static str),
    /// A key is no text.
    #[error(
        "Error walking tree: Tree contains a non-string key (type {0}): <redacted>. Only string keys are supported"
    )]
    Key(&'static str),
    /// A comment was decrypted to something else.
    #[error("Error walking tree: walkValue of Comment should be either Comment or string, was {0}")]
    Comment(&'static str),
}

/// The bytes that the code over encrypted values only begins with: SHA-256 of `sops`.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b,
    0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// What the walk has found out.
pub(crate) struct Decrypted {
    /// The code over the values: a SHA-512 in upper-case hexadecimal.
    pub(crate) mac: String,
    /// The texts that were encrypted, up to [`MAX_NOTED`] bytes each.
    pub(crate) texts: Vec<Vec<u8>>,
}

/// The longest text that is noted as confidential: longer ones are files.
const MAX_NOTED: usize = 64 << 10;

/// Decrypts the documents of a file in place.
pub(crate) fn decrypt(
    documents: &mut [Branch],
    key: &[u8; gcm::KEY],
    rule: &Rule,
    only_encrypted: bool,
) -> Result<Decrypted, TreeError> {
    let mut hash = Sha512::new();
    if only_encrypted {
        hash.update(ONLY_ENCRYPTED);
    }
    let mut walk = Walk {
        key,
        rule,
        only_encrypted,
        hash,
        path: Vec::new(),
        comments: Comments::default(),
        texts: Vec::new(),
    };
    for document in documents {
        walk.branch(document)?;
    }
    let sum = walk.hash.finalize();
    Ok(Decrypted {
        mac: sum.iter().map(|byte| format!("{byte:02X}")).collect(),
        texts: walk.texts,
    })
}

struct Walk<'w> {
    key: &'w [u8; gcm::KEY],
    rule: &'w Rule,
    only_encrypted: bool,
    hash: Sha512,
    path: Vec<Vec<u8>>,
    comments: Comments,
    texts: Vec<Vec<u8>>,
}

impl Walk<'_> {
    fn branch(&mut self, branch: &mut Branch) -> Result<(), TreeError> {
        self.comments.enter();
        for entry in branch {
            let name = match &mut entry.key {
                Key::Comment(comment) => {
                    self.comments.add(&comment.text);
                    let mut value = Value::Comment(comment.clone());
                    self.leaf(&mut value)?;
                    match value {
                        Value::Comment(decrypted) => *comment = decrypted,
                        Value::Text(text) => comment.text = text,
                        other => return Err(TreeError::Comment(other.go_type())),
                    }
                    continue;
                }
                Key::Text(name) => name.clone(),
                Key::Other(kind) => return Err(TreeError::Key(kind)),
            };
            self.path.push(name);
            self.value(&mut entry.value)?;
            self.path.pop();
            self.comments.clear();
        }
        self.comments.leave();
        Ok(())
    }

    fn list(&mut self, items: &mut [Value]) -> Result<(), TreeError> {
        self.comments.enter();
        for item in items {
            if let Value::Comment(comment) = item {
                self.comments.add(&comment.text);
                self.leaf(item)?;
            } else {
                self.value(item)?;
                self.comments.clear();
            }
        }
        self.comments.leave();
        Ok(())
    }

    fn value(&mut self, value: &mut Value) -> Result<(), TreeError> {
        match value {
            Value::Map(branch) => self.branch(branch),
            Value::List(items) => self.list(items),
            // Upstream neither encrypts nor authenticates it.
            Value::Null => Ok(()),
            leaf => self.leaf(leaf),
        }
    }

    fn leaf(&mut self, value: &mut Value) -> Result<(), TreeError> {
        let is_comment = matches!(value, Value::Comment(_));
        let path: Vec<&[u8]> = self.path.iter().map(Vec::as_slice).collect();
        let encrypted = self.rule.is_encrypted(&path, &self.comments, is_comment);
        if encrypted {
            let mut place = path.join(&b':');
            place.push(b':');
            match value {
                Value::Comment(comment) => {
                    // One that cannot be decrypted never was encrypted (KC-SOPS-025).
                    if let Ok(decrypted) = cipher::decrypt(&comment.text, self.key, &place) {
                        *value = decrypted;
                    }
                }
                Value::Text(text) | Value::Bytes(text) => {
                    *value = cipher::decrypt(text, self.key, &place)?;
                    self.note(value);
                }
                other => return Err(TreeError::NotText(other.go_type())),
            }
        }
        // Encrypted comments within lists are texts, until they are decrypted.
        let is_comment = is_comment || matches!(value, Value::Comment(_));
        if !is_comment && (encrypted || !self.only_encrypted) {
            self.authenticate(value);
        }
        Ok(())
    }

    /// Notes what was encrypted, as it may be quoted.
    fn note(&mut self, value: &Value) {
        let text = match value {
            Value::Text(text) | Value::Bytes(text) => text.clone(),
            Value::Int(int) => int.to_string().into_bytes(),
            Value::Float(float) => format_float(*float, b'f', None).into_bytes(),
            _ => return,
        };
        if (1..=MAX_NOTED).contains(&text.len()) {
            self.texts.push(text);
        }
    }

    fn authenticate(&mut self, value: &Value) {
        match value {
            Value::Text(text) | Value::Bytes(text) => self.hash.update(text),
            Value::Int(int) => self.hash.update(int.to_string()),
            Value::Float(float) => self.hash.update(format_float(*float, b'f', None)),
            Value::Bool(value) => self.hash.update(if *value { "True" } else { "False" }),
            Value::Time(time) => self.hash.update(time.nanoseconds()),
            Value::Comment(comment) => self.hash.update(&comment.text),
            Value::Null | Value::List(_) | Value::Map(_) => {}
        }
    }
}
