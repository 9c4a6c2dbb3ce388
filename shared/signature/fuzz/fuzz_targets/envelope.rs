//! Signature envelopes of notation: the first bit selects the format. What they ask for is answered with the rest.
#![no_main]

use flux_signature::notation::{Artifact, Outcome, Policy, Responses, Signature, Verifier};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, envelope)) = data.split_first() else {
        return;
    };
    let policy = br#"{"version": "1.0", "trustPolicies": [{"name": "all", "registryScopes": ["*"],
        "signatureVerification": {"level": "audit"}, "trustStores": ["ca:a", "tsa:a", "signingAuthority:a"],
        "trustedIdentities": ["x509.subject: C=US, ST=WA, O=a"]}]}"#;
    let verifier = Verifier::new(Policy::parse(policy).unwrap(), [envelope]);
    let kinds = ["application/jose+json", "application/cose"];
    let signatures = [Signature {
        digest: String::new(),
        media_type: kinds[usize::from(first & 1)].to_owned(),
        envelope: envelope.to_vec(),
    }];
    let artifact = Artifact {
        reference: "registry.example.com/app@sha256:00".to_owned(),
        media_type: String::new(),
        digest: "sha256:00".to_owned(),
        size: 0,
    };
    let mut responses = Responses::new();
    for _ in 0..4 {
        let outcome = verifier.verify(&artifact, &signatures, &responses, Timestamp::UNIX_EPOCH);
        let Ok(Outcome::Needs(requests)) = outcome else {
            return;
        };
        let answers = requests.into_iter().map(|request| (request, Ok(envelope.to_vec())));
        responses.extend(answers);
    }
});
