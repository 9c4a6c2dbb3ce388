//! AES-256-GCM with nonces of any length, since SOPS' have 32 bytes (NIST SP 800-38D).

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use ghash::GHash;
use ghash::universal_hash::UniversalHash as _;

const BLOCK: usize = 16;

/// The ciphertext, its additional data or its nonce are not those that were authenticated with this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unauthentic;

/// The bytes of a data key.
pub(crate) const KEY: usize = 32;

/// Decrypts `data` in place of a copy, if `tag` is its tag.
pub(crate) fn open(
    key: &[u8; KEY],
    nonce: &[u8],
    data: &[u8],
    tag: &[u8],
    additional: &[u8],
) -> Result<Vec<u8>, Unauthentic> {
    let cipher = Aes256::new(key.into());
    let encrypt = |block: [u8; BLOCK]| {
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        <[u8; BLOCK]>::from(block)
    };
    let hash_key = encrypt([0; BLOCK]).into();
    let first = first_counter(&GHash::new(&hash_key), nonce);

    let mut hash = GHash::new(&hash_key);
    hash.update_padded(additional);
    hash.update_padded(data);
    hash.update_padded(&lengths(additional.len(), data.len()));
    let sum: [u8; BLOCK] = hash.finalize().into();
    let mask = encrypt(first);
    let wanted: Vec<u8> = sum.iter().zip(mask).map(|(sum, mask)| sum ^ mask).collect();
    if !same(&wanted, tag) {
        return Err(Unauthentic);
    }

    let mut plain = data.to_vec();
    let mut counter = first;
    for chunk in plain.chunks_mut(BLOCK) {
        increment(&mut counter);
        for (byte, mask) in chunk.iter_mut().zip(encrypt(counter)) {
            *byte ^= mask;
        }
    }
    Ok(plain)
}

/// The counter block that a nonce begins with.
fn first_counter(hash: &GHash, nonce: &[u8]) -> [u8; BLOCK] {
    if nonce.len() == 12 {
        let mut block = [0; BLOCK];
        block[..12].copy_from_slice(nonce);
        block[15] = 1;
        return block;
    }
    let mut hash = hash.clone();
    hash.update_padded(nonce);
    hash.update_padded(&lengths(0, nonce.len()));
    hash.finalize().into()
}

/// Two lengths in bytes as a block of bit counts.
fn lengths(first: usize, second: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..8].copy_from_slice(&(first as u64 * 8).to_be_bytes());
    block[8..].copy_from_slice(&(second as u64 * 8).to_be_bytes());
    block
}

fn increment(block: &mut [u8; BLOCK]) {
    for byte in block[12..].iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
}

/// Compares without leaving early, so that the time tells nothing about a tag.
fn same(left: &[u8], right: &[u8]) -> bool {
    let difference = left.iter().zip(right).fold(0, |sum, (l, r)| sum | (l ^ r));
    left.len() == right.len() && difference == 0
}
