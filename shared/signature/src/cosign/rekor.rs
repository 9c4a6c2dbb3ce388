//! Entries of Rekor's log: their bodies, signed entry timestamps, inclusion proofs and checkpoints, verified offline.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::trusted_root::Log;
use crate::key::{Hash, PublicKey, Scheme, Strength};
use crate::pem;

/// The maximum size of an entry's body.
const MAX_BODY: usize = 1 << 20;
/// The maximum number of hashes of a proof: a log holds fewer than 2^64 entries.
const MAX_HASHES: usize = 64;
/// The maximum number of signatures below a checkpoint.
const MAX_SIGNATURES: usize = 64;
/// JSON numbers above are rounded by the canonical form that is signed.
const MAX_NUMBER: i64 = 1 << 53;

/// What an entry of the first version says about a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) kind: Kind,
    /// The signature, as text in base64 where it is compared as text.
    pub(crate) signature: Vec<u8>,
    pub(crate) signature_text: String,
    /// The certificate or key, PEM.
    pub(crate) verifier: Vec<u8>,
    /// The hash of the payload in hexadecimal, with its algorithm.
    pub(crate) algorithm: String,
    pub(crate) hash: String,
}

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    HashedRekord,
    Dsse,
    InToto,
}

/// The content of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    First(Box<Body>),
    /// `hashedrekord` 0.0.2 of Rekor's second version, whose body is made again from the signature.
    Second,
}

impl Content {
    /// Reads the canonical body of an entry.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        if body.len() > MAX_BODY {
            return None;
        }
        let value: Value = serde_json::from_slice(body).ok()?;
        let text = |pointer: &str| value.pointer(pointer)?.as_str();
        let bytes = |pointer: &str| STANDARD.decode(text(pointer)?).ok();
        let (kind, version) = (text("/kind")?, text("/apiVersion")?);
        if (kind, version) == ("hashedrekord", "0.0.2") {
            value.pointer("/spec/hashedRekordV002/signature/verifier")?;
            return Some(Self::Second);
        }
        let one = |pointer: &str| {
            let list = value.pointer(pointer)?.as_array()?;
            (list.len() == 1).then_some(())
        };
        let body = match (kind, version) {
            ("hashedrekord", "0.0.1") => Body {
                kind: Kind::HashedRekord,
                signature: bytes("/spec/signature/content")?,
                signature_text: text("/spec/signature/content")?.to_owned(),
                verifier: bytes("/spec/signature/publicKey/content")?,
                algorithm: text("/spec/data/hash/algorithm")?.to_owned(),
                hash: text("/spec/data/hash/value")?.to_owned(),
            },
            ("dsse", "0.0.1") => {
                one("/spec/signatures")?;
                Body {
                    kind: Kind::Dsse,
                    signature: bytes("/spec/signatures/0/signature")?,
                    signature_text: text("/spec/signatures/0/signature")?.to_owned(),
                    verifier: bytes("/spec/signatures/0/verifier")?,
                    algorithm: text("/spec/payloadHash/algorithm")?.to_owned(),
                    hash: text("/spec/payloadHash/value")?.to_owned(),
                }
            }
            ("intoto", "0.0.2") => {
                one("/spec/content/envelope/signatures")?;
                // The signature is in base64 twice.
                let inner = bytes("/spec/content/envelope/signatures/0/sig")?;
                let inner = String::from_utf8(inner).ok()?;
                Body {
                    kind: Kind::InToto,
                    signature: STANDARD.decode(&inner).ok()?,
                    signature_text: inner,
                    verifier: bytes("/spec/content/envelope/signatures/0/publicKey")?,
                    algorithm: text("/spec/content/payloadHash/algorithm")?.to_owned(),
                    hash: text("/spec/content/payloadHash/value")?.to_owned(),
                }
            }
            _ => return None,
        };
        Some(Self::First(Box::new(body)))
    }
}

impl Body {
    /// The content of the PEM block with the certificate or key.
    pub(crate) fn verifier_der(&self) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(&self.verifier).ok()?;
        pem::decode(text).map(|(block, _)| block.bytes)
    }
}

/// Whether the log's key signed that it will include the body (`signedEntryTimestamp`), while it was valid.
pub(crate) fn verify_promise(
    log: &Log,
    log_id: &[u8],
    body: &[u8],
    index: i64,
    integrated: i64,
    promise: &[u8],
) -> bool {
    let numbers = 0..MAX_NUMBER;
    if !numbers.contains(&index) || !numbers.contains(&integrated) || !log.is_valid_at(integrated) {
        return false;
    }
    if !matches!(
        log.key.strength(),
        Strength::P256 | Strength::P384 | Strength::P521
    ) {
        return false;
    }
    let content = format!(
        r#"{{"body":"{}","integratedTime":{integrated},"logID":"{}","logIndex":{index}}}"#,
        STANDARD.encode(body),
        hex::encode(log_id)
    );
    log.key
        .verifies(Scheme::Ecdsa(Hash::Sha256), content.as_bytes(), promise)
}

/// The digest of an entry as a leaf of the log's tree (RFC 6962).
pub(crate) fn leaf_hash(body: &[u8]) -> Vec<u8> {
    Hash::Sha256.digest(&[&[0], body].concat())
}

/// Whether the hashes lead from a leaf to the root of a tree (RFC 6962, 2.1.1).
pub(crate) fn is_included(
    leaf: &[u8],
    index: u64,
    size: u64,
    hashes: &[&[u8]],
    root: &[u8],
) -> bool {
    if index >= size || hashes.len() > MAX_HASHES || hashes.iter().any(|hash| hash.len() != 32) {
        return false;
    }
    let node = |left: &[u8], right: &[u8]| Hash::Sha256.digest(&[&[1], left, right].concat());
    // Below the last common ancestor with the right border both sides occur; above it only left siblings.
    let inner = (64 - (index ^ (size - 1)).leading_zeros()) as usize;
    let above = index.checked_shr(inner as u32).unwrap_or(0);
    if hashes.len() != inner + above.count_ones() as usize {
        return false;
    }
    let (below, border) = hashes.split_at(inner);
    let mut hash = leaf.to_vec();
    for (level, sibling) in below.iter().enumerate() {
        hash = if index >> level & 1 == 0 {
            node(&hash, sibling)
        } else {
            node(sibling, &hash)
        };
    }
    for sibling in border {
        hash = node(sibling, &hash);
    }
    hash == root
}

/// A log's statement of its size and root hash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint<'a> {
    origin: &'a str,
    pub(crate) size: u64,
    pub(crate) root: Vec<u8>,
    /// What is signed.
    text: &'a str,
    /// Names, identifiers of keys, and signatures.
    signatures: Vec<(&'a str, u32, Vec<u8>)>,
}

impl<'a> Checkpoint<'a> {
    /// Reads a signed note (c2sp.org/signed-note) with a checkpoint in it.
    pub(crate) fn parse(note: &'a str) -> Option<Self> {
        let split = note.rfind("\n\n")?;
        let (text, below) = (note.get(..=split)?, note.get(split + 2..)?);
        let below = below.strip_suffix('\n')?;
        let mut signatures = Vec::new();
        for line in below.lines() {
            let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
            let bytes = STANDARD.decode(encoded.trim_end()).ok()?;
            let (id, signature) = bytes.split_first_chunk::<4>()?;
            if signature.is_empty() || signatures.len() == MAX_SIGNATURES {
                return None;
            }
            signatures.push((name, u32::from_be_bytes(*id), signature.to_vec()));
        }
        let mut lines = text.split('\n');
        let origin = lines.next().filter(|origin| !origin.is_empty())?;
        let size = lines.next()?;
        if !size.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self {
            origin,
            size: size.parse().ok()?,
            root: STANDARD.decode(lines.next()?).ok()?,
            text,
            signatures,
        })
    }

    /// Whether it is of the first version of Rekor, whose origin ends in the number of a tree.
    pub(crate) fn is_first_version(&self) -> bool {
        let tree = self.origin.rsplit_once(" - ").map(|(_, tree)| tree);
        tree.is_some_and(|tree| !tree.is_empty() && tree.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// Whether all signatures are by the log's key, as the first version of Rekor requires.
    pub(crate) fn is_signed_by(&self, key: &PublicKey) -> bool {
        let expected = first_four(&Hash::Sha256.digest(key.info()));
        !self.signatures.is_empty()
            && self.signatures.iter().all(|(_, id, signature)| {
                let scheme = key.default_scheme(Hash::Sha256);
                *id == expected && key.verifies(scheme, self.text.as_bytes(), signature)
            })
    }

    /// Whether the origin is the log's host, and its key made one of the signatures: other signatures are of witnesses.
    pub(crate) fn is_of_log(&self, log: &Log) -> bool {
        let Some(host) = host(&log.url) else {
            return false;
        };
        let key = &log.key;
        let expected = match key.strength() {
            // The last 32 bytes of its encoding are the key.
            Strength::Ed25519 => {
                let raw = key.info().len().checked_sub(32);
                let raw = raw.and_then(|at| key.info().get(at..)).unwrap_or_default();
                first_four(&Hash::Sha256.digest(&[host.as_bytes(), b"\n\x01", raw].concat()))
            }
            Strength::Rsa(_) => {
                let parts = [host.as_bytes(), b"\n\xffPKIX-RSA-PKCS#1v1.5", key.info()];
                first_four(&Hash::Sha256.digest(&parts.concat()))
            }
            _ => first_four(&Hash::Sha256.digest(key.info())),
        };
        let scheme = key.default_scheme(key.default_hash());
        let mut ours = self
            .signatures
            .iter()
            .filter(|(name, id, _)| *name == host && *id == expected)
            .peekable();
        self.origin == host
            && ours.peek().is_some()
            && ours.all(|(_, _, signature)| key.verifies(scheme, self.text.as_bytes(), signature))
    }
}

fn first_four(digest: &[u8]) -> u32 {
    let four = digest.first_chunk::<4>().copied();
    u32::from_be_bytes(four.unwrap_or_default())
}

/// The host of an address, without its port.
fn host(url: &str) -> Option<String> {
    let url = flux_golang::url::Url::parse(url.as_bytes()).ok()?;
    let host = String::from_utf8(url.hostname().to_vec()).ok()?;
    (!host.is_empty()).then_some(host)
}

/// The body of the entry that the second version of Rekor makes of a signature with a certificate. `None` if the key is
/// of a kind that it does not take.
pub(crate) fn second_body(
    digest_of: impl Fn(Hash) -> Vec<u8>,
    signature: &[u8],
    certificate: &[u8],
    key: &PublicKey,
) -> Option<Vec<u8>> {
    let (details, hash, name) = match key.strength() {
        Strength::P256 => ("PKIX_ECDSA_P256_SHA_256", Hash::Sha256, "SHA2_256"),
        Strength::P384 => ("PKIX_ECDSA_P384_SHA_384", Hash::Sha384, "SHA2_384"),
        Strength::P521 => ("PKIX_ECDSA_P521_SHA_512", Hash::Sha512, "SHA2_512"),
        Strength::Rsa(2048) => ("PKIX_RSA_PKCS1V15_2048_SHA256", Hash::Sha256, "SHA2_256"),
        Strength::Rsa(3072) => ("PKIX_RSA_PKCS1V15_3072_SHA256", Hash::Sha256, "SHA2_256"),
        Strength::Rsa(4096) => ("PKIX_RSA_PKCS1V15_4096_SHA256", Hash::Sha256, "SHA2_256"),
        _ => return None,
    };
    let body = format!(
        concat!(
            r#"{{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{{"hashedRekordV002":{{"data":{{"algorithm":"{}","#,
            r#""digest":"{}"}},"signature":{{"content":"{}","verifier":{{"keyDetails":"{}","#,
            r#""x509Certificate":{{"rawBytes":"{}"}}}}}}}}}}}}"#
        ),
        name,
        STANDARD.encode(digest_of(hash)),
        STANDARD.encode(signature),
        details,
        STANDARD.encode(certificate),
    );
    Some(body.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(left: &[u8], right: &[u8]) -> Vec<u8> {
        Hash::Sha256.digest(&[&[1], left, right].concat())
    }

    /// The root of a tree and the proof of one of its leaves, by their definition in RFC 6962.
    fn tree(leaves: &[Vec<u8>], index: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
        if leaves.len() == 1 {
            return (leaves[0].clone(), Vec::new());
        }
        let split = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(split);
        if index < split {
            let (root, mut proof) = tree(left, index);
            let (other, _) = tree(right, 0);
            proof.push(other.clone());
            (node(&root, &other), proof)
        } else {
            let (other, _) = tree(left, 0);
            let (root, mut proof) = tree(right, index - split);
            proof.push(other.clone());
            (node(&other, &root), proof)
        }
    }

    #[test]
    fn proofs_of_all_leaves_of_small_trees() {
        for size in 1..20_usize {
            let leaves: Vec<_> = (0..size).map(|at| leaf_hash(&[at as u8])).collect();
            for index in 0..size {
                let (root, proof) = tree(&leaves, index);
                let hashes: Vec<&[u8]> = proof.iter().map(Vec::as_slice).collect();
                let check = |index: usize, size: usize, hashes: &[&[u8]]| {
                    is_included(&leaves[index], index as u64, size as u64, hashes, &root)
                };
                assert!(check(index, size, &hashes), "{index} of {size}");
                assert!(size == 1 || !check((index + 1) % size, size, &hashes));
                assert!(!check(index, index, &hashes));
                if let Some((_, fewer)) = hashes.split_last() {
                    assert!(!check(index, size, fewer));
                }
            }
        }
        assert!(!is_included(
            &[0; 32],
            u64::MAX - 1,
            u64::MAX,
            &[],
            &[0; 32]
        ));
        assert!(!is_included(&[0; 32], 0, 0, &[], &[0; 32]));
    }

    #[test]
    fn checkpoints() {
        let note = "rekor.example.com - 12\n3\nAAAA\n\n\u{2014} rekor.example.com AAAAAAE=\n";
        let checkpoint = Checkpoint::parse(note).unwrap();
        assert_eq!((checkpoint.size, &*checkpoint.root), (3, &[0, 0, 0][..]));
        assert!(checkpoint.is_first_version());
        for malformed in [
            "",
            "\n\n",
            "a\n1\nAAAA\n\n\u{2014} a AAAAAAE=",
            "a\n1\nAAAA\n\n- a AAAAAAE=\n",
            "a\n-1\nAAAA\n\n\u{2014} a AAAAAAE=\n",
            "a\n1\n?\n\n\u{2014} a AAAAAAE=\n",
            "a\n1\nAAAA\n\n\u{2014} a AAAA\n",
        ] {
            assert_eq!(Checkpoint::parse(malformed), None, "{malformed:?}");
        }
        let second = note.replace(" - 12", "");
        assert!(!Checkpoint::parse(&second).unwrap().is_first_version());
    }
}
