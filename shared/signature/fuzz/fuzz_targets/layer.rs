//! Signatures in cosign's older layout: a payload, a certificate and a log entry, each in a line.
#![no_main]

use flux_signature::cosign::{Candidate, Layer, TrustedRoot, Verifier, bundle_blob, signatures};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = signatures(data);
    let _ = bundle_blob(data);
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split('\0').map(str::to_owned);
    let payload = parts.next().unwrap_or_default().into_bytes();
    let names = [
        "dev.cosignproject.cosign/signature",
        "dev.sigstore.cosign/certificate",
        "dev.sigstore.cosign/bundle",
    ];
    let annotations = names.iter().map(|name| (*name).to_owned()).zip(parts).collect();
    let layers = [Layer { payload, annotations }];
    let verifier = Verifier::keyless(TrustedRoot::public_good(), Vec::new());
    let digest = format!("sha256:{}", "0".repeat(64));
    let verified = verifier.verify(&Candidate::Layers(&layers), &digest, Timestamp::UNIX_EPOCH);
    assert!(verified.is_err(), "a forged signature is accepted");
});
