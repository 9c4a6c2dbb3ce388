//! Sigstore bundles, verified for identities of the public instance.
#![no_main]

use flux_signature::cosign::{Bundle, Candidate, TrustedRoot, Verifier};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(bundle) = Bundle::parse(data) else {
        return;
    };
    let verifier = Verifier::keyless(TrustedRoot::public_good(), Vec::new());
    let digest = format!("sha256:{}", "0".repeat(64));
    let bundles = [bundle];
    let candidate = Candidate::Bundles(&bundles);
    let verified = verifier.verify(&candidate, &digest, Timestamp::UNIX_EPOCH);
    assert!(verified.is_err(), "a forged bundle is accepted");
});
