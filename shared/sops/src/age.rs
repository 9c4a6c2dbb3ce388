//! age files (age-encryption.org/v1), decrypted with X25519, post-quantum and SSH identities.

mod armor;
mod bech32;
mod header;
mod hybrid;
mod identity;
mod ssh;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sha2::Sha256;

pub use self::identity::ImportError;
pub(crate) use self::identity::{Identity, parse_lines, parse_words};
pub use self::ssh::SshError;
pub(crate) use self::ssh::parse as parse_ssh;

/// Why a file was not decrypted, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to read header: {0}")]
    Header(#[from] header::HeaderError),
    #[error("identity did not match any of the recipients: incorrect identity for recipient block")]
    OneDiffers,
    #[error("no identity matched any of the recipients")]
    AllDiffer,
    #[error("{0}")]
    Recipient(&'static str),
    #[error("bad header MAC")]
    Mac,
    #[error("failed to read nonce: unexpected EOF")]
    Nonce,
    #[error("{0}")]
    Payload(&'static str),
}

/// The bytes of the key of a file.
const FILE_KEY: usize = 16;
const TAG: usize = 16;
const CHUNK: usize = 64 << 10;

/// The content of an armored file.
pub(crate) fn decrypt(armored: &str, identities: &[Identity]) -> Result<Vec<u8>, Error> {
    let data = armor::open(armored).map_err(header::HeaderError::Armor)?;
    let (header, payload) = header::parse(&data)?;
    let file_key = file_key(&header, identities)?;
    let mac_key = derive(&file_key, None, b"header");
    let mac = Hmac::<Sha256>::new_from_slice(&mac_key).map(|mac| mac.chain_update(header.signed));
    if !mac.is_ok_and(|mac| mac.verify_slice(&header.mac).is_ok()) {
        return Err(Error::Mac);
    }
    let (nonce, payload) = payload.split_at_checked(16).ok_or(Error::Nonce)?;
    open_payload(&derive(&file_key, Some(nonce), b"payload"), payload)
}

fn file_key(header: &header::Header<'_>, identities: &[Identity]) -> Result<[u8; FILE_KEY], Error> {
    // Those that need no program first, as upstream.
    let (native, others): (Vec<_>, Vec<_>) =
        identities.iter().partition(|identity| identity.is_native());
    for identity in native.into_iter().chain(others) {
        for stanza in &header.stanzas {
            if let Some(key) = identity.unwrap(stanza).map_err(Error::Recipient)? {
                return Ok(key);
            }
        }
    }
    Err(match identities {
        [_] => Error::OneDiffers,
        _ => Error::AllDiffer,
    })
}

/// HKDF-SHA-256 of 32 bytes.
fn derive(secret: &[u8], salt: Option<&[u8]>, info: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    // 32 bytes are never too many.
    let _ = Hkdf::<Sha256>::new(salt, secret).expand(info, &mut key);
    key
}

/// ChaCha20-Poly1305 without additional data.
fn open(key: &[u8; 32], nonce: [u8; 12], sealed: &[u8]) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?);
    let mut data = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let length = key
        .open_in_place(nonce, Aad::empty(), &mut data)
        .ok()?
        .len();
    data.truncate(length);
    Some(data)
}

/// The key of a file from a stanza's body.
fn open_file_key(
    key: &[u8; 32],
    nonce: [u8; 12],
    body: &[u8],
) -> Result<Option<[u8; FILE_KEY]>, &'static str> {
    if body.len() != FILE_KEY + TAG {
        return Err("encrypted value has unexpected length");
    }
    let opened = open(key, nonce, body);
    Ok(opened.and_then(|opened| opened.try_into().ok()))
}

/// Chunks of 64 KiB, each with its number and whether it is the last in its nonce.
fn open_payload(key: &[u8; 32], payload: &[u8]) -> Result<Vec<u8>, Error> {
    const BROKEN: &str =
        "failed to decrypt and authenticate payload chunk, file may be corrupted or tampered with";
    if payload.is_empty() {
        return Err(Error::Payload("unexpected EOF"));
    }
    let chunks = payload.chunks(CHUNK + TAG);
    let last = chunks.len() - 1;
    let mut plain = Vec::with_capacity(payload.len());
    for (number, chunk) in chunks.enumerate() {
        if number > 0 && chunk.len() <= TAG {
            return Err(Error::Payload(BROKEN));
        }
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&(number as u64).to_be_bytes());
        nonce[11] = u8::from(number == last);
        let opened = open(key, nonce, chunk).ok_or(Error::Payload(BROKEN))?;
        plain.extend_from_slice(&opened);
    }
    Ok(plain)
}
