//! Keys of NATS: Ed25519 seeds in base32 with a checksum.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// What a seed begins with, in the upper five bits.
const SEED: u8 = 18 << 3;

/// The key of a user. There is no `Debug`.
pub(super) struct Nkey {
    pair: Ed25519KeyPair,
    /// What the public key begins with.
    kind: u8,
}

/// Why a text is no seed. It is not quoted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NkeyError {
    /// It is not base32, or too short.
    #[error("nkeys: invalid encoded key")]
    Encoding,
    /// Its checksum is wrong.
    #[error("nkeys: invalid checksum")]
    Checksum,
    /// It is another kind of key.
    #[error("nkeys: invalid seed")]
    Seed,
}

impl Nkey {
    /// Parses a seed.
    pub(super) fn parse(text: &str) -> Result<Self, NkeyError> {
        let padded = format!("{text}{}", "=".repeat((8 - text.len() % 8) % 8));
        let raw = flux_golang::encoding::decode_base32(padded.as_bytes());
        let raw = raw.map_err(|_| NkeyError::Encoding)?;
        let (body, sum) = raw.split_last_chunk::<2>().ok_or(NkeyError::Encoding)?;
        if checksum(body) != u16::from_le_bytes(*sum) {
            return Err(NkeyError::Checksum);
        }
        let [first, second, seed @ ..] = body else {
            return Err(NkeyError::Encoding);
        };
        if first & 0xf8 != SEED || seed.len() != 32 {
            return Err(NkeyError::Seed);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NkeyError::Seed)?;
        let kind = (first & 7) << 5 | (second & 0xf8) >> 3;
        Ok(Self { pair, kind })
    }

    /// The public key as servers know it.
    pub(super) fn public(&self) -> String {
        let mut raw = vec![self.kind];
        raw.extend_from_slice(self.pair.public_key().as_ref());
        let sum = checksum(&raw);
        raw.extend_from_slice(&sum.to_le_bytes());
        let text = flux_golang::encoding::base32(&raw);
        text.trim_end_matches('=').to_owned()
    }

    /// The signature of what a server asks to be signed.
    pub(super) fn sign(&self, nonce: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.sign(nonce.as_bytes()))
    }
}

/// The token and the seed in a file of credentials.
pub(super) fn credentials(text: &str) -> Option<(String, String)> {
    let part = |name: &str| {
        let mut lines = text.lines().map(str::trim);
        lines.find(|line| line.starts_with("---") && line.contains(&format!("BEGIN {name}")))?;
        lines
            .take_while(|line| !line.starts_with("---"))
            .find(|line| !line.is_empty())
            .map(str::to_owned)
    };
    Some((part("NATS USER JWT")?, part("USER NKEY SEED")?))
}

/// CRC-16 with the polynomial of XMODEM.
fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum: u16, byte| {
        (0..8).fold(sum ^ u16::from(*byte) << 8, |sum, _| {
            if sum & 0x8000 == 0 {
                sum << 1
            } else {
                sum << 1 ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_xmodem() {
        assert_eq!(checksum(b"123456789"), 0x31c3);
    }

    #[test]
    fn seeds_are_checked() {
        // NC-NATS-002
        assert_eq!(Nkey::parse("no seed!").err(), Some(NkeyError::Encoding));
        assert_eq!(Nkey::parse("").err(), Some(NkeyError::Encoding));
        let seed = super::super::tests::SEED;
        assert_eq!(
            Nkey::parse(seed).unwrap().public(),
            super::super::tests::PUBLIC
        );
        let broken = seed.replace("SUAAOBYH", "SUAAOBYA");
        assert_eq!(Nkey::parse(&broken).err(), Some(NkeyError::Checksum));
        let public = Nkey::parse(super::super::tests::PUBLIC);
        assert_eq!(public.err(), Some(NkeyError::Seed));
    }

    #[test]
    fn credentials_hold_a_token_and_a_seed() {
        let text = "-----BEGIN NATS USER JWT-----\na.b.c\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\nSUX\n------END USER NKEY SEED------\n";
        assert_eq!(
            credentials(text),
            Some(("a.b.c".to_owned(), "SUX".to_owned()))
        );
        assert_eq!(credentials("x"), None);
    }
}
