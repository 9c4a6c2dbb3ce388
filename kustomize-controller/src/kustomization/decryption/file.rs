//! One encrypted text in one format, decrypted to another.

use flux_sops::{
    Answers, DataKeyError, DecryptError, Format, Keyring, LoadError, Mac, MasterKey, Plain, Search,
    SopsFile, WriteError,
};

/// Why a text was not decrypted (KC-SOPS-016 to KC-SOPS-018). No variant holds a value.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("failed to load encrypted {} data", .format.name())]
    Load {
        format: Format,
        #[source]
        source: LoadError,
    },
    #[error("cannot get sops data key")]
    DataKey(#[source] DataKeyError),
    #[error("error decrypting sops tree")]
    Tree(#[source] DecryptError),
    #[error("failed to emit encrypted {} file as decrypted {}", .from.name(), .to.name())]
    Write {
        from: Format,
        to: Format,
        #[source]
        source: WriteError,
    },
    #[error("failed to emit encrypted {} file as decrypted {}: the decryption panicked", .format.name(), .format.name())]
    Panicked { format: Format },
}

/// A decrypted text.
pub(crate) struct Decrypted {
    pub(crate) content: Vec<u8>,
    /// The texts in it that were encrypted.
    pub(crate) secrets: Vec<Vec<u8>>,
}

/// The result of an attempt.
pub(crate) enum Attempt<T> {
    Done(T),
    /// A service has to be asked first.
    Needs(Box<MasterKey>),
}

/// Decrypts a text.
pub(super) fn decrypt(
    data: &[u8],
    (from, to): (Format, Format),
    ring: &Keyring,
    answers: &Answers,
) -> Result<Attempt<Decrypted>, FileError> {
    let file = SopsFile::read(data, from);
    let file = file.map_err(|source| FileError::Load {
        format: from,
        source,
    })?;
    Ok(match open(file, ring, answers)? {
        Attempt::Needs(key) => Attempt::Needs(key),
        Attempt::Done(plain) => Attempt::Done(written(&plain, from, to)?),
    })
}

/// Decrypts the values of a file. The code over all of them is not checked (KC-SOPS-015).
pub(super) fn open(
    file: SopsFile,
    ring: &Keyring,
    answers: &Answers,
) -> Result<Attempt<Plain>, FileError> {
    match file.data_key(ring, answers).map_err(FileError::DataKey)? {
        Search::Needs(key) => Ok(Attempt::Needs(key)),
        Search::Found(key) => {
            let plain = file.decrypt(&key, Mac::Ignored);
            plain.map(Attempt::Done).map_err(FileError::Tree)
        }
    }
}

pub(super) fn written(plain: &Plain, from: Format, to: Format) -> Result<Decrypted, FileError> {
    let content = plain.write(to);
    let content = content.map_err(|source| FileError::Write { from, to, source })?;
    let secrets = plain.secrets().map(<[u8]>::to_vec).collect();
    Ok(Decrypted { content, secrets })
}
