//! age identities (KC-SOPS-033).

use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

use super::header::{Stanza, argument};
use super::hybrid::Hybrid;
use super::ssh::{SshEd25519, SshRsa};
use super::{FILE_KEY, bech32, derive, open_file_key};

/// Why a text holds no identities. The text itself is not shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse and add to age identities: {0}")]
pub struct ImportError(pub(crate) &'static str);

/// A private key.
#[derive(Clone)]
pub(crate) enum Identity {
    X25519(X25519),
    Hybrid(Box<Hybrid>),
    SshEd25519(SshEd25519),
    SshRsa(Box<SshRsa>),
    /// One that a program has the key of. No program is run.
    Plugin,
}

/// The result of an attempt: nothing if the stanza is for another identity.
pub(super) type Unwrapped = Result<Option<[u8; FILE_KEY]>, &'static str>;

impl Identity {
    pub(super) fn is_native(&self) -> bool {
        matches!(self, Self::X25519(_) | Self::Hybrid(_))
    }

    pub(super) fn unwrap(&self, stanza: &Stanza<'_>) -> Unwrapped {
        match self {
            Self::X25519(identity) => identity.unwrap(stanza),
            Self::Hybrid(identity) => identity.unwrap(stanza),
            Self::SshEd25519(identity) => identity.unwrap(stanza),
            Self::SshRsa(identity) => identity.unwrap(stanza),
            Self::Plugin => Err("age plugins are not supported"),
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.starts_with("AGE-PLUGIN-") {
            return Ok(Self::Plugin);
        }
        let secret = |wanted: &str| -> Result<[u8; 32], &'static str> {
            let (prefix, bytes) = bech32::decode(text).ok_or("malformed secret key")?;
            if prefix != wanted {
                return Err("malformed secret key: unknown type");
            }
            bytes.try_into().map_err(|_| "malformed secret key")
        };
        if text.starts_with("AGE-SECRET-KEY-PQ-1") {
            let hybrid = Hybrid::new(&secret("AGE-SECRET-KEY-PQ-")?);
            Ok(Self::Hybrid(Box::new(hybrid)))
        } else if text.starts_with("AGE-SECRET-KEY-1") {
            Ok(Self::X25519(X25519::new(secret("AGE-SECRET-KEY-")?)))
        } else {
            Err("unknown identity type")
        }
    }
}

/// The identities of a text, one per line.
pub(crate) fn parse_lines(text: &str) -> Result<Vec<Identity>, ImportError> {
    let lines = lines(text);
    let identities = lines.map(|line| Identity::parse(line).map_err(ImportError));
    identities.collect()
}

/// The identities of a text, of which several may be on a line.
pub(crate) fn parse_words(text: &str) -> Result<Vec<Identity>, ImportError> {
    let words = lines(text).flat_map(str::split_whitespace);
    let identities = words.map(|word| Identity::parse(word).map_err(ImportError));
    identities.collect()
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// An X25519 key.
#[derive(Clone)]
pub(crate) struct X25519 {
    secret: [u8; 32],
    public: [u8; 32],
}

impl X25519 {
    fn new(secret: [u8; 32]) -> Self {
        let public = x25519(secret, X25519_BASEPOINT_BYTES);
        Self { secret, public }
    }

    fn unwrap(&self, stanza: &Stanza<'_>) -> Unwrapped {
        const INVALID: &str = "invalid X25519 recipient block";
        if stanza.kind != "X25519" {
            return Ok(None);
        }
        let [share] = *stanza.arguments.as_slice() else {
            return Err(INVALID);
        };
        let share = argument(share).ok_or(INVALID)?;
        let shared = exchange(self.secret, share).ok_or("invalid X25519 recipient")?;
        let salt = [share, self.public].concat();
        let key = derive(&shared, Some(&salt), b"age-encryption.org/v1/X25519");
        open_file_key(&key, [0; 12], &stanza.body)
            .map_err(|_| "invalid X25519 recipient block: incorrect file key size")
    }
}

/// The shared secret, unless the share is a point of low order.
pub(super) fn exchange(secret: [u8; 32], share: [u8; 32]) -> Option<[u8; 32]> {
    Some(x25519(secret, share)).filter(|shared| *shared != [0; 32])
}
