//! Random numbers for key generation.

use std::convert::Infallible;

use flux_gotemplate::{CallError, Context};
use rsa::rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

/// A stream of SHA-256 blocks over a counter and a seed from the host's source: key generation needs a source that cannot
/// fail, while the host's may.
pub(super) struct Drbg {
    seed: [u8; 32],
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Drbg {
    pub(super) fn new(c: &Context<'_>) -> Result<Self, CallError> {
        let mut seed = [0; 32];
        c.environment().random(&mut seed)?;
        Ok(Self {
            seed,
            counter: 0,
            block: [0; 32],
            used: 32,
        })
    }

    pub(super) fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            if self.used >= self.block.len() {
                let mut hash = Sha256::new();
                hash.update(self.seed);
                hash.update(self.counter.to_be_bytes());
                self.block = hash.finalize().into();
                self.counter += 1;
                self.used = 0;
            }
            *byte = self.block[self.used];
            self.used += 1;
        }
    }
}

impl TryRng for Drbg {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Drbg {}
