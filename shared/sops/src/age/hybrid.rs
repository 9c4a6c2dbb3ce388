//! Post-quantum identities: HPKE (RFC 9180) with the key encapsulation MLKEM768-X25519 (X-Wing).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hkdf::Hkdf;
use ml_kem::kem::Decapsulate as _;
use ml_kem::{DecapsulationKey, MlKem768, Seed};
use sha2::Sha256;
use sha3::{Digest as _, Sha3_256};
use shake::{ExtendableOutput as _, Shake256, Update as _, XofReader as _};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

use super::header::Stanza;
use super::identity::Unwrapped;
use super::open_file_key;

/// The bytes of an ML-KEM-768 ciphertext.
const CIPHERTEXT: usize = 1088;
const INFO: &[u8] = b"age-encryption.org/mlkem768x25519";
/// `HPKE`, and the numbers of MLKEM768-X25519, HKDF-SHA256 and ChaCha20Poly1305.
const SUITE: &[u8] = b"HPKE\x64\x7a\x00\x01\x00\x03";

/// A post-quantum identity.
#[derive(Clone)]
pub(crate) struct Hybrid {
    lattice: DecapsulationKey<MlKem768>,
    curve: [u8; 32],
    curve_public: [u8; 32],
}

impl Hybrid {
    /// The identity of a seed.
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        let mut hash = Shake256::default();
        hash.update(seed);
        let mut reader = hash.finalize_xof();
        let (mut lattice, mut curve) = ([0; 64], [0; 32]);
        reader.read(&mut lattice);
        reader.read(&mut curve);
        Self {
            lattice: DecapsulationKey::from_seed(Seed::from(lattice)),
            curve,
            curve_public: x25519(curve, X25519_BASEPOINT_BYTES),
        }
    }

    pub(super) fn unwrap(&self, stanza: &Stanza<'_>) -> Unwrapped {
        const INVALID: &str = "invalid mlkem768x25519 recipient block";
        if stanza.kind != "mlkem768x25519" {
            return Ok(None);
        }
        let [encapsulated] = *stanza.arguments.as_slice() else {
            return Err(INVALID);
        };
        let encapsulated = STANDARD_NO_PAD.decode(encapsulated).map_err(|_| INVALID)?;
        let shared = self.shared(&encapsulated).ok_or(INVALID)?;
        let (key, nonce) = schedule(&shared);
        open_file_key(&key, nonce, &stanza.body)
    }

    /// The shared secret of both halves.
    fn shared(&self, encapsulated: &[u8]) -> Option<[u8; 32]> {
        let (ciphertext, share) = encapsulated.split_at_checked(CIPHERTEXT)?;
        let share: [u8; 32] = share.try_into().ok()?;
        let lattice = self.lattice.decapsulate_slice(ciphertext).ok()?;
        let curve = x25519(self.curve, share);
        let mut hash = Sha3_256::new();
        for part in [
            lattice.as_slice(),
            &curve,
            &share,
            &self.curve_public,
            br"\.//^\",
        ] {
            sha3::Digest::update(&mut hash, part);
        }
        Some(hash.finalize().into())
    }
}

/// The key and the first nonce of HPKE in base mode.
fn schedule(shared: &[u8; 32]) -> ([u8; 32], [u8; 12]) {
    let extract = |salt: &[u8], label: &[u8], secret: &[u8]| {
        let input = [b"HPKE-v1", SUITE, label, secret].concat();
        Hkdf::<Sha256>::extract(Some(salt), &input)
    };
    let (ids, _) = extract(b"", b"psk_id_hash", b"");
    let (info, _) = extract(b"", b"info_hash", INFO);
    let context = [&[0], ids.as_slice(), info.as_slice()].concat();
    let (_, secret) = extract(shared, b"secret", b"");
    let expand = |label: &[u8], out: &mut [u8]| {
        let length = (out.len() as u16).to_be_bytes();
        let info = [&length, b"HPKE-v1".as_slice(), SUITE, label, &context].concat();
        // So few bytes are never too many.
        let _ = secret.expand(&info, out);
    };
    let (mut key, mut nonce) = ([0; 32], [0; 12]);
    expand(b"key", &mut key);
    expand(b"base_nonce", &mut nonce);
    (key, nonce)
}
