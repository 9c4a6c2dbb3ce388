//! SOPS files: read, their values decrypted, written in plain.
//!
//! ```
//! use flux_sops::{Answers, Format, Keyring, Mac, Search, SopsFile};
//!
//! # fn example(text: &[u8], identities: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let file = SopsFile::read(text, Format::Yaml)?;
//! let mut ring = Keyring::default();
//! ring.add_age(identities)?;
//! let mut answers = Answers::new();
//! let key = loop {
//!     match file.data_key(&ring, &answers)? {
//!         Search::Found(key) => break key,
//!         // Nothing here uses the network: the caller asks the service that has the key, and comes back.
//!         Search::Needs(key) => {
//!             answers.insert(*key, Err("no such service".to_owned()));
//!         }
//!     }
//! };
//! let plain = file.decrypt(&key, Mac::Ignored)?.write(Format::Yaml)?;
//! # let _ = plain; Ok(()) }
//! ```
//!
//! Formats are YAML, JSON, dotenv, INI and binary. age (X25519, post-quantum, SSH keys) and OpenPGP keys are used here; the data
//! keys that AWS KMS, Google Cloud KMS, Azure Key Vault, Huawei Cloud KMS and the transit engine of Vault or OpenBao hold are
//! [asked for](Search::Needs). Encrypting is out of scope.
//!
//! No error holds a decrypted value, and `Debug` shows none. Limits: trees 256 deep, a million values with copies by aliases,
//! 1,000 keys.

#![forbid(unsafe_code)]

mod age;
mod cipher;
mod file;
mod format;
mod gcm;
mod key;
mod metadata;
mod openpgp;
mod report;
mod shamir;
mod store;
mod tree;
mod value;

pub use age::{ImportError as AgeImportError, SshError};
pub use cipher::ValueError;
pub use file::{DecryptError, LoadError, Mac, Plain, SopsFile};
pub use format::Format;
pub use key::{Answers, DataKey, DataKeyError, Keyring, MasterKey, Search};
pub use metadata::MetadataError;
pub use openpgp::ImportError as OpenPgpImportError;
pub use shamir::ShareError;
pub use store::{ReadError, WriteError};
pub use tree::TreeError;
