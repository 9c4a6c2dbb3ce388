//! OpenPGP messages to keys without passphrase. No program is run, and no key ring outside is read (KC-SOPS-036).

use std::io::{Cursor, Read as _};

use pgp::composed::{DecryptionOptions, Message, PublicOrSecret, SignedSecretKey, TheRing};
use pgp::types::Password;

/// The bytes of a key ring or a message that are read.
const MAX_INPUT: usize = 4 << 20;
/// The bytes of a decrypted data key that are read.
const MAX_OUTPUT: u64 = 1 << 16;
/// How often a message may be compressed.
const MAX_LAYERS: usize = 8;

/// A key ring could not be read. The parser's own errors would quote bytes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to import armored key data into GnuPG keyring: no valid OpenPGP data found.")]
pub struct ImportError;

/// Why a message was not decrypted, with upstream's text around what `gpg` would say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "could not decrypt data key with PGP key: GnuPG binary error: failed to decrypt sops data key with pgp: {0}"
)]
pub(crate) struct Error(&'static str);

/// Private keys.
#[derive(Clone, Default)]
pub(crate) struct Ring(Vec<SignedSecretKey>);

impl Ring {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the private keys among `data`. Public keys are accepted, as by upstream, and of no use.
    pub(crate) fn add(&mut self, data: &[u8]) -> Result<(), ImportError> {
        if data.len() > MAX_INPUT {
            return Err(ImportError);
        }
        let is_armored = data.windows(15).any(|window| window == b"-----BEGIN PGP ");
        let before = self.0.len();
        let mut public = false;
        let mut take = |key: pgp::errors::Result<PublicOrSecret>| match key {
            Ok(PublicOrSecret::Secret(key)) => self.0.push(key),
            Ok(PublicOrSecret::Public(_)) => public = true,
            Err(_) => {}
        };
        if is_armored {
            for block in blocks(data) {
                let keys = PublicOrSecret::from_armor_many(Cursor::new(block));
                if let Ok((keys, _)) = keys {
                    keys.for_each(&mut take);
                }
            }
        } else if let Ok(keys) = PublicOrSecret::from_bytes_many(Cursor::new(data)) {
            keys.for_each(&mut take);
        }
        if self.0.len() == before && !public {
            return Err(ImportError);
        }
        Ok(())
    }

    /// The content of an armored message.
    pub(crate) fn decrypt(&self, armored: &str) -> Result<Vec<u8>, Error> {
        const INVALID: Error = Error("gpg: no valid OpenPGP data found.");
        const NO_KEY: Error = Error("gpg: decryption failed: No secret key");
        const FAILED: Error = Error("gpg: decryption failed: Bad data");
        if armored.len() > MAX_INPUT {
            return Err(INVALID);
        }
        let text: Vec<u8> = blocks(armored.as_bytes()).next().ok_or(INVALID)?;
        let (message, _) = Message::from_armor(Cursor::new(text)).map_err(|_| INVALID)?;
        let password = Password::empty();
        let ring = TheRing {
            secret_keys: self.0.iter().collect(),
            key_passwords: vec![&password],
            decrypt_options: DecryptionOptions::new().enable_gnupg_aead(),
            ..TheRing::default()
        };
        let decrypted = message.decrypt_the_ring(ring, true);
        let (mut message, _) = decrypted.map_err(|error| match error {
            pgp::errors::Error::MissingKey => NO_KEY,
            _ => FAILED,
        })?;
        for _ in 0..MAX_LAYERS {
            if message.is_compressed() {
                message = message.decompress().map_err(|_| FAILED)?;
            }
        }
        let mut plain = Vec::new();
        let read = message
            .by_ref()
            .take(MAX_OUTPUT + 1)
            .read_to_end(&mut plain);
        if read.is_err() || plain.len() as u64 > MAX_OUTPUT {
            return Err(FAILED);
        }
        if plain.is_empty() {
            return Err(Error("zero bytes returned"));
        }
        Ok(plain)
    }
}

/// The armored blocks of a text, with white space removed at both ends of each line: keys are often pasted into YAML.
fn blocks(text: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    std::iter::from_fn(move || {
        let first = lines.find(|line| line.starts_with(b"-----BEGIN PGP "))?;
        let mut block = [first, b"\n"].concat();
        for line in lines.by_ref() {
            block.extend_from_slice(line);
            block.push(b'\n');
            if line.starts_with(b"-----END PGP ") {
                break;
            }
        }
        Some(block)
    })
}
