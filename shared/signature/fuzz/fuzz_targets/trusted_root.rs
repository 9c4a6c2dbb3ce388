//! Trusted roots and public keys.
#![no_main]

use flux_signature::PublicKey;
use flux_signature::cosign::TrustedRoot;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = TrustedRoot::parse(data);
    let _ = PublicKey::from_pem(data);
});
