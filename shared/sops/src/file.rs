//! A file as it goes through decryption: read, decrypted, written.

use std::fmt;

use crate::cipher;
use crate::format::Format;
use crate::key::{self, Answers, DataKey, DataKeyError, Keyring, Search};
use crate::metadata::{self, Metadata, MetadataError};
use crate::store::{self, ReadError, WriteError};
use crate::tree::{self, TreeError};
use crate::value::{Branch, Entry, Value};

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Not in its format.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Not with the metadata of SOPS.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// Whether the code that authenticates all values of a file has to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mac {
    /// It does not matter, since kustomize may have changed what is not encrypted (KC-SOPS-015).
    Ignored,
    /// It does.
    Checked,
}

/// Why a file could not be decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// A value could not be decrypted.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The data key has another length.
    #[error("Error walking tree: Could not decrypt value: crypto/aes: invalid key size {0}")]
    KeySize(usize),
    /// The code does not authenticate the values.
    #[error("failed to verify sops data integrity")]
    Mac,
}

/// An encrypted file. `Debug` shows its structure, no values.
#[derive(Clone)]
pub struct SopsFile {
    documents: Vec<Branch>,
    metadata: Metadata,
}

impl fmt::Debug for SopsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SopsFile")
            .field("documents", &self.documents.len())
            .finish_non_exhaustive()
    }
}

impl SopsFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn read(data: &[u8], format: Format) -> Result<Self, LoadError> {
        Self::new(store::read(data, format)?, format)
    }

    /// Takes an object as a JSON file would hold it (KC-SOPS-011).
    ///
    /// # Errors
    /// [`LoadError::Metadata`].
    pub fn from_value(value: &flux_yaml::Value) -> Result<Self, LoadError> {
        let branch = match to_tree(value) {
            Value::Map(branch) => branch,
            _ => Branch::new(),
        };
        Self::new(vec![branch], Format::Json)
    }

    fn new(mut documents: Vec<Branch>, format: Format) -> Result<Self, LoadError> {
        let metadata = metadata::extract(&mut documents, format)?;
        Ok(Self {
            documents,
            metadata,
        })
    }

    /// Looks for the data key with the private keys at hand and the answers of key services.
    ///
    /// # Errors
    /// No key gives it.
    pub fn data_key(&self, ring: &Keyring, answers: &Answers) -> Result<Search, DataKeyError> {
        key::find(&self.metadata, ring, answers)
    }

    /// Decrypts the values.
    ///
    /// # Errors
    /// [`DecryptError`].
    pub fn decrypt(self, key: &DataKey, mac: Mac) -> Result<Plain, DecryptError> {
        let Self {
            mut documents,
            metadata,
        } = self;
        let key = key.key().map_err(DecryptError::KeySize)?;
        let rule = &metadata.rule;
        let decrypted = tree::decrypt(&mut documents, key, rule, metadata.only_encrypted)?;
        if mac == Mac::Checked {
            let place = metadata.modified.seconds();
            let wanted = cipher::decrypt(&metadata.mac, key, place.as_bytes());
            if wanted != Ok(Value::text(decrypted.mac)) {
                return Err(DecryptError::Mac);
            }
        }
        Ok(Plain {
            documents,
            texts: decrypted.texts,
        })
    }
}

/// A decrypted file. `Debug` shows no values.
#[derive(Clone)]
pub struct Plain {
    documents: Vec<Branch>,
    texts: Vec<Vec<u8>>,
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain")
    }
}

impl Plain {
    /// The file in a format, which need not be the one that it was read in.
    ///
    /// # Errors
    /// The format cannot hold it.
    pub fn write(&self, format: Format) -> Result<Vec<u8>, WriteError> {
        store::write(&self.documents, format)
    }

    /// The texts that were encrypted, apart from long ones, which are files: no message may show these.
    pub fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.texts.iter().map(Vec::as_slice)
    }
}

fn to_tree(value: &flux_yaml::Value) -> Value {
    use flux_yaml::Value as V;
    match value {
        V::Null => Value::Null,
        V::Bool(value) => Value::Bool(*value),
        V::Int(value) => Value::Int(*value),
        V::Uint(value) => Value::Float(*value as f64),
        V::Float(value) => Value::Float(*value),
        V::String(text) => Value::text(text.clone()),
        V::Seq(items) => Value::List(items.iter().map(to_tree).collect()),
        V::Map(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let entries = keys
                .into_iter()
                .filter_map(|key| Some(Entry::new(key.clone(), to_tree(map.get(key)?))));
            Value::Map(entries.collect())
        }
    }
}
