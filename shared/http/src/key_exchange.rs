//! Key exchange over P-521, which Go offers and *ring* lacks.
//!
//! It is offered last, so servers that support another group never use it.

use p521::ecdh::EphemeralSecret;
use p521::elliptic_curve::Generate as _;
use p521::elliptic_curve::sec1::ToSec1Point as _;
use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved};

/// The group `secp521r1`.
#[derive(Debug)]
pub(crate) struct P521;

impl SupportedKxGroup for P521 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let secret = EphemeralSecret::generate_from_rng(&mut rand::rng());
        let public = secret.public_key().to_sec1_point(false).as_bytes().to_vec();
        Ok(Box::new(Active { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

struct Active {
    secret: EphemeralSecret,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Active {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        // Only uncompressed points on the curve are valid (RFC 8446, 4.2.8.2).
        let invalid = Error::from(PeerMisbehaved::InvalidKeyShare);
        if peer.first() != Some(&4) {
            return Err(invalid);
        }
        let peer = p521::PublicKey::from_sec1_bytes(peer).map_err(|_| invalid)?;
        let shared = self.secret.diffie_hellman(&peer);
        Ok(SharedSecret::from(shared.raw_secret_bytes().as_slice()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}
