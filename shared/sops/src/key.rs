//! Master keys, and how the data key of a file is found with them (KC-SOPS-027, KC-SOPS-028).

use std::collections::BTreeMap;
use std::fmt;

use crate::age::{self, ImportError};
use crate::metadata::Metadata;
use crate::shamir::{self, ShareError};
use crate::{gcm, openpgp, report};

/// A key that a file names, with the data key (or a share of it) as encrypted for that key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MasterKey {
    /// Of AWS KMS.
    AwsKms {
        /// The key.
        arn: String,
        /// The role to assume first; may be empty.
        role: String,
        /// The encryption context.
        context: BTreeMap<String, String>,
        /// A profile of the process that encrypted.
        profile: String,
        /// Base64.
        encrypted: String,
    },
    /// Of Google Cloud KMS.
    GcpKms {
        /// The key: `projects/…/cryptoKeys/…`.
        resource: String,
        /// Base64.
        encrypted: String,
    },
    /// Of Huawei Cloud KMS.
    HuaweiKms {
        /// The key.
        key: String,
        /// As the service gave it.
        encrypted: String,
    },
    /// Of Azure Key Vault.
    AzureKeyVault {
        /// The vault's URL.
        vault: String,
        /// The key.
        name: String,
        /// Its version.
        version: String,
        /// Base64 of the URL alphabet, without padding.
        encrypted: String,
    },
    /// Of the transit engine of Vault or OpenBao.
    Transit {
        /// The server's URL.
        address: String,
        /// The engine's path.
        engine: String,
        /// The key.
        name: String,
        /// As the engine gave it.
        encrypted: String,
    },
    /// An OpenPGP key.
    OpenPgp {
        /// Of the primary key or of a subkey.
        fingerprint: String,
        /// An armored message.
        encrypted: String,
    },
    /// An age recipient.
    Age {
        /// The recipient.
        recipient: String,
        /// An armored file.
        encrypted: String,
    },
}

impl fmt::Display for MasterKey {
    /// The key as upstream names it in errors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwsKms {
                arn,
                role,
                context,
                profile,
                ..
            } => {
                f.write_str(arn)?;
                if !role.is_empty() {
                    write!(f, "+{role}")?;
                }
                let pairs: Vec<String> = context
                    .iter()
                    .map(|(key, value)| format!("{key}:{value}"))
                    .collect();
                let context = pairs.join(",");
                if !profile.is_empty() {
                    write!(f, "|{context}|{profile}")
                } else if context.is_empty() {
                    Ok(())
                } else {
                    write!(f, "|{context}")
                }
            }
            Self::GcpKms { resource, .. } => f.write_str(resource),
            Self::HuaweiKms { key, .. } => f.write_str(key),
            Self::AzureKeyVault {
                vault,
                name,
                version,
                ..
            } => write!(f, "{vault}/keys/{name}/{version}"),
            Self::Transit {
                address,
                engine,
                name,
                ..
            } => write!(f, "{address}/v1/{engine}/keys/{name}"),
            Self::OpenPgp { fingerprint, .. } => f.write_str(fingerprint),
            Self::Age { recipient, .. } => f.write_str(recipient),
        }
    }
}

impl MasterKey {
    /// The place in the order in which the keys of a group are tried (KC-SOPS-028).
    fn rank(&self) -> u8 {
        match self {
            Self::Age { .. } => 0,
            Self::OpenPgp { .. } => 1,
            _ => 2,
        }
    }
}

/// The private keys at hand. `Debug` shows how many.
#[derive(Clone, Default)]
pub struct Keyring {
    age: Vec<age::Identity>,
    openpgp: openpgp::Ring,
    age_note: String,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("age", &self.age.len())
            .field("openpgp", &self.openpgp.len())
            .finish_non_exhaustive()
    }
}

impl Keyring {
    /// Adds age identities, one per line; empty lines and comments are skipped (KC-SOPS-033).
    ///
    /// # Errors
    /// A line is not one. Nothing is added then.
    pub fn add_age(&mut self, text: &str) -> Result<(), ImportError> {
        self.age.extend(age::parse_lines(text)?);
        Ok(())
    }

    /// Adds age identities of which several may be on a line (KC-SOPS-034).
    ///
    /// # Errors
    /// A word is not one. Nothing is added then.
    pub fn add_age_words(&mut self, text: &str) -> Result<(), ImportError> {
        self.age.extend(age::parse_words(text)?);
        Ok(())
    }

    /// Adds a private key of SSH, Ed25519 or RSA, as an age identity (KC-SOPS-034).
    ///
    /// # Errors
    /// The key is encrypted, malformed, or of another kind.
    pub fn add_ssh(&mut self, pem: &str) -> Result<(), age::SshError> {
        self.age.push(age::parse_ssh(pem)?);
        Ok(())
    }

    /// Adds OpenPGP keys, armored or not (KC-SOPS-036).
    ///
    /// # Errors
    /// No key can be read.
    pub fn add_openpgp(&mut self, keys: &[u8]) -> Result<(), openpgp::ImportError> {
        self.openpgp.add(keys)
    }

    /// Whether there is an age identity.
    pub fn has_age(&self) -> bool {
        !self.age.is_empty()
    }

    /// Sets what an error of an age key ends in: where identities were looked for, and why one was not read.
    pub fn set_age_note(&mut self, note: String) {
        self.age_note = note;
    }

    fn decrypt_age(&self, encrypted: &str) -> Result<Vec<u8>, String> {
        if self.age.is_empty() {
            return Err(format!("failed to load age identities{}", self.age_note));
        }
        age::decrypt(encrypted, &self.age).map_err(|error| match error {
            age::Error::Payload(_) => {
                format!("failed to copy age decrypted data into bytes.Buffer: {error}")
            }
            error => format!(
                "failed to create reader for decrypting sops data key with age: {error}{}",
                self.age_note
            ),
        })
    }
}

/// A data key, or a share of one. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey(Vec<u8>);

impl DataKey {
    /// What a key service has decrypted.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn key(&self) -> Result<&[u8; gcm::KEY], usize> {
        self.0.as_slice().try_into().map_err(|_| self.0.len())
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

/// What key services have said so far: a share of the data key, or why it is absent. The text is shown to users.
pub type Answers = BTreeMap<MasterKey, Result<DataKey, String>>;

/// How the search for a data key goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// The data key.
    Found(DataKey),
    /// A key service has to decrypt this; its answer is needed to go on.
    Needs(Box<MasterKey>),
}

/// Why a data key was not found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataKeyError {
    /// Too few groups gave their share. The text is upstream's report of each key.
    #[error("{}", report::data_key(*required, groups))]
    Groups {
        /// How many are needed; 0 if there is one group only.
        required: usize,
        /// For each group its keys with what went wrong, or nothing if one worked.
        groups: Vec<Option<Vec<(String, String)>>>,
    },
    /// The shares make no key.
    #[error("could not get data key from shamir parts: {0}")]
    Shares(#[from] ShareError),
}

/// Finds the data key of a file.
pub(crate) fn find(
    metadata: &Metadata,
    ring: &Keyring,
    answers: &Answers,
) -> Result<Search, DataKeyError> {
    let groups = &metadata.groups;
    let required = if groups.len() < 2 {
        1
    } else if metadata.threshold == 0 {
        groups.len()
    } else {
        metadata.threshold
    };
    let mut shares = Vec::new();
    let mut results = Vec::new();
    for group in groups {
        // Each further share would cost requests, and change nothing.
        if shares.len() >= required {
            break;
        }
        match share(group, ring, answers) {
            Share::Found(share) => {
                shares.push(share);
                results.push(None);
            }
            Share::Needs(key) => return Ok(Search::Needs(Box::new(key.clone()))),
            Share::Failed(failures) => results.push(Some(failures)),
        }
    }
    if groups.len() < 2 {
        if let Some(share) = shares.pop() {
            return Ok(Search::Found(DataKey(share)));
        }
    } else if shares.len() >= metadata.threshold {
        return Ok(Search::Found(DataKey(shamir::combine(&shares)?)));
    }
    Err(DataKeyError::Groups {
        required: metadata.threshold,
        groups: results,
    })
}

enum Share<'k> {
    Found(Vec<u8>),
    Needs(&'k MasterKey),
    Failed(Vec<(String, String)>),
}

/// The share of a group: the first of its keys that works gives it.
fn share<'k>(group: &'k [MasterKey], ring: &Keyring, answers: &Answers) -> Share<'k> {
    let mut keys: Vec<&MasterKey> = group.iter().collect();
    keys.sort_by_key(|key| key.rank());
    let mut failures = Vec::new();
    for key in keys {
        let result = match key {
            MasterKey::Age { encrypted, .. } => ring.decrypt_age(encrypted),
            MasterKey::OpenPgp { encrypted, .. } => ring
                .openpgp
                .decrypt(encrypted)
                .map_err(|error| error.to_string()),
            remote => match answers.get(remote) {
                Some(Ok(share)) => Ok(share.0.clone()),
                Some(Err(text)) => Err(text.clone()),
                None => return Share::Needs(remote),
            },
        };
        match result {
            Ok(share) => return Share::Found(share),
            Err(text) => failures.push((key.to_string(), text)),
        }
    }
    Share::Failed(failures)
}
