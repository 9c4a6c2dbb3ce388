//! `encryptAES`, `decryptAES`: AES-256 in CBC mode, with the initialization vector before the ciphertext.

use aes::Aes256;
use cbc::cipher::{Block, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use flux_golang::encoding;
use flux_gotemplate::{CallError, Context, Functions, Str};

const BLOCK: usize = 16;

pub(super) fn register(f: &mut Functions) {
    f.add(
        "encryptAES",
        |c: &mut Context<'_>, password: Str, text: Str| encrypt(c, &password, &text),
    );
    f.add("decryptAES", |password: Str, text: Str| {
        decrypt(&password, &text)
    });
}

/// The password's bytes, truncated or padded with zeros to the length of a key.
fn key(password: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    for (to, from) in key.iter_mut().zip(password) {
        *to = *from;
    }
    key
}

fn blocks(data: &mut [u8]) -> impl Iterator<Item = &mut [u8; BLOCK]> {
    data.as_chunks_mut().0.iter_mut()
}

fn encrypt(c: &mut Context<'_>, password: &[u8], text: &[u8]) -> Result<String, CallError> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let mut iv = [0; BLOCK];
    c.environment().random(&mut iv)?;
    let padding = BLOCK - text.len() % BLOCK;
    let mut content = text.to_vec();
    content.resize(text.len() + padding, padding as u8);
    let mut cipher = cbc::Encryptor::<Aes256>::new(&key(password).into(), &iv.into());
    for block in blocks(&mut content) {
        let mut encrypted: Block<Aes256> = (*block).into();
        cipher.encrypt_block(&mut encrypted);
        *block = encrypted.into();
    }
    Ok(encoding::base64(&[iv.as_slice(), &content].concat()))
}

fn decrypt(password: &[u8], text: &[u8]) -> Result<Str, CallError> {
    if text.is_empty() {
        return Ok(Str::default());
    }
    let data = encoding::decode_base64(text).map_err(CallError::new)?;
    // The panic of Go's runtime for slices that are too short.
    let Some((iv, content)) = data.split_first_chunk::<BLOCK>() else {
        let capacity = text.len() / 4 * 3;
        return Err(format!(
            "runtime error: slice bounds out of range [:{BLOCK}] with capacity {capacity}"
        )
        .into());
    };
    if content.len() % BLOCK != 0 {
        return Err("crypto/cipher: input not full blocks".into());
    }
    let mut content = content.to_vec();
    let mut cipher = cbc::Decryptor::<Aes256>::new(&key(password).into(), &(*iv).into());
    for block in blocks(&mut content) {
        let mut decrypted: Block<Aes256> = (*block).into();
        cipher.decrypt_block(&mut decrypted);
        *block = decrypted.into();
    }
    let Some(&padding) = content.last() else {
        return Err("runtime error: index out of range [-1]".into());
    };
    if let Some(end) = content.len().checked_sub(usize::from(padding)) {
        Ok(Str::new(content.get(..end).unwrap_or_default()))
    } else {
        let end = content.len() as i64 - i64::from(padding);
        Err(format!("runtime error: slice bounds out of range [:{end}]").into())
    }
}
