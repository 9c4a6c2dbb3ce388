//! Trust policies of notation.
#![no_main]

use flux_signature::notation::Policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(policy) = Policy::parse(data) {
        let _ = policy.applicable("registry.example.com/app@sha256:00");
    }
});
