//! `bcrypt`, `htpasswd`, `derivePassword`.

use blowfish::Blowfish;
use flux_gotemplate::{CallError, Context, Functions, Str, Value, types};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub(super) fn register(f: &mut Functions) {
    f.add("bcrypt", |c: &mut Context<'_>, password: Str| {
        bcrypt(c, &password)
    });
    f.add(
        "htpasswd",
        |c: &mut Context<'_>, user: Str, password: Str| {
            if user.contains(&b':') {
                return Ok(format!("invalid username: {user}"));
            }
            Ok::<_, CallError>(format!("{user}:{}", bcrypt(c, &password)?))
        },
    );
    let params = vec![
        &types::UINT32 as _,
        &types::STRING,
        &types::STRING,
        &types::STRING,
        &types::STRING,
    ];
    f.insert(
        "derivePassword",
        flux_gotemplate::Function::new(params, false, |c, args| match args.as_slice() {
            [
                Value::Uint(_, n),
                Value::Str(kind),
                Value::Str(pw),
                Value::Str(user),
                Value::Str(site),
            ] => {
                // Memory of scrypt.
                c.charge(32 << 20)?;
                Ok(derive_password(*n as u32, kind, pw, user, site).into())
            }
            _ => Err("derivePassword takes a counter and four strings".into()),
        }),
    );
}

const COST: u32 = 10;

/// A hash of cost 10 with a random salt, in the `$2a$` format.
fn bcrypt(c: &mut Context<'_>, password: &[u8]) -> Result<String, CallError> {
    if password.len() > 72 {
        return Ok(
            "failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes"
                .to_owned(),
        );
    }
    // A hash takes as long as many thousand nodes.
    c.spend(100_000)?;
    let mut salt = [0; 16];
    c.environment().random(&mut salt)?;
    let hash = bcrypt_hash(password, &salt);
    Ok(format!("$2a${COST}${}{}", radix64(&salt), radix64(&hash)))
}

fn bcrypt_hash(password: &[u8], salt: &[u8; 16]) -> [u8; 23] {
    let key: Vec<u8> = password.iter().copied().chain([0]).take(72).collect();
    let mut cipher: Blowfish = Blowfish::bc_init_state();
    cipher.salted_expand_key(salt, &key);
    for _ in 0..1u32 << COST {
        cipher.bc_expand_key(&key);
        cipher.bc_expand_key(salt);
    }
    let mut hash = [0; 23];
    let mut out = Vec::with_capacity(24);
    for pair in b"OrpheanBeholderScryDoubt".chunks_exact(8) {
        let word = |at: usize| {
            let bytes = pair.get(at..at + 4).unwrap_or_default();
            bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b))
        };
        let mut block = [word(0), word(4)];
        for _ in 0..64 {
            block = cipher.bc_encrypt(block);
        }
        out.extend(block.iter().flat_map(|w| w.to_be_bytes()));
    }
    // The last byte is not part of the hash, as in every implementation.
    for (to, from) in hash.iter_mut().zip(out) {
        *to = from;
    }
    hash
}

/// bcrypt's variant of base64, without padding.
fn radix64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let n = group
            .iter()
            .chain([&0, &0])
            .take(3)
            .fold(0usize, |n, b| n << 8 | usize::from(*b));
        for i in 0..=group.len() {
            out.push(char::from(ALPHABET[n >> (18 - 6 * i) & 63]));
        }
    }
    out
}

const SCOPE: &[u8] = b"com.lyndir.masterpassword";

/// The password templates of the Master Password algorithm.
fn templates(kind: &[u8]) -> Option<&'static [&'static str]> {
    Some(match kind {
        b"maximum" => &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"],
        b"long" => &[
            "CvcvnoCvcvCvcv",
            "CvcvCvcvnoCvcv",
            "CvcvCvcvCvcvno",
            "CvccnoCvcvCvcv",
            "CvccCvcvnoCvcv",
            "CvccCvcvCvcvno",
            "CvcvnoCvccCvcv",
            "CvcvCvccnoCvcv",
            "CvcvCvccCvcvno",
            "CvcvnoCvcvCvcc",
            "CvcvCvcvnoCvcc",
            "CvcvCvcvCvccno",
            "CvccnoCvccCvcv",
            "CvccCvccnoCvcv",
            "CvccCvccCvcvno",
            "CvcvnoCvccCvcc",
            "CvcvCvccnoCvcc",
            "CvcvCvccCvccno",
            "CvccnoCvcvCvcc",
            "CvccCvcvnoCvcc",
            "CvccCvcvCvccno",
        ],
        b"medium" => &["CvcnoCvc", "CvcCvcno"],
        b"short" => &["Cvcn"],
        b"basic" => &["aaanaaan", "aannaaan", "aaannaaa"],
        b"pin" => &["nnnn"],
        _ => return None,
    })
}

fn characters(class: u8) -> &'static [u8] {
    match class {
        b'V' => b"AEIOU",
        b'C' => b"BCDFGHJKLMNPQRSTVWXYZ",
        b'v' => b"aeiou",
        b'c' => b"bcdfghjklmnpqrstvwxyz",
        b'a' => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
        b'n' => b"0123456789",
        b'o' => b"@&%?,=[]_:-+*$#!'^~;()/.",
        _ => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
    }
}

fn derive_password(counter: u32, kind: &[u8], password: &[u8], user: &[u8], site: &[u8]) -> Str {
    let Some(templates) = templates(kind) else {
        let kind = String::from_utf8_lossy(kind);
        return format!("cannot find password template {kind}").into();
    };
    let length = |text: &[u8]| (text.len() as u32).to_be_bytes();
    let salt = [SCOPE, &length(user), user].concat();
    let mut key = [0; 64];
    let derived = scrypt::Params::new(15, 8, 2)
        .ok()
        .and_then(|params| scrypt::scrypt(password, &salt, &params, &mut key).ok());
    let mac = Hmac::<Sha256>::new_from_slice(&key).ok();
    let (Some(()), Some(mut mac)) = (derived, mac) else {
        return "failed to derive password".into();
    };
    mac.update(SCOPE);
    mac.update(&length(site));
    mac.update(site);
    mac.update(&counter.to_be_bytes());
    let seed = mac.finalize().into_bytes();
    let mut seed = seed.iter().map(|b| usize::from(*b));
    let first = seed.next().unwrap_or(0);
    let template = templates.get(first % templates.len()).unwrap_or(&"");
    let chosen: Vec<u8> = template
        .bytes()
        .zip(seed)
        .filter_map(|(class, n)| {
            let characters = characters(class);
            characters.get(n % characters.len()).copied()
        })
        .collect();
    chosen.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHABET: &[u8] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    fn salt(text: &str) -> [u8; 16] {
        let (mut bits, mut held, mut out) = (0u32, 0, Vec::new());
        for b in text.bytes() {
            let digit = ALPHABET.iter().position(|a| *a == b).expect("a digit");
            bits = bits << 6 | digit as u32;
            held += 6;
            if held >= 8 {
                held -= 8;
                out.push((bits >> held) as u8);
                bits &= (1 << held) - 1;
            }
        }
        out.try_into().expect("sixteen bytes")
    }

    /// Test vectors of the jBCrypt suite at cost 10.
    #[test]
    fn bcrypt_hashes_match_known_values() {
        for (password, hash) in [
            ("", "k1wbIrmNyFAPwPVPSVa/zecw2BCEnBwVS2GbrmgzxFUOqW9dk4TCW"),
            ("a", "k87L/MF28Q673VKh8/cPi.SUl7MU/rWuSiIDDFayrKk/1tBsSQu4u"),
            (
                "abc",
                "WvvTPHKwdBJ3uk0Z37EMR.hLA2W6N9AEBhEgrAOljy2Ae5MtaSIUi",
            ),
        ] {
            let salt = salt(&hash[..22]);
            let ours = format!(
                "{}{}",
                radix64(&salt),
                radix64(&bcrypt_hash(password.as_bytes(), &salt))
            );
            assert_eq!(ours, hash, "{password:?}");
        }
    }
}
