//! Verifies a commit whose signature, payload and trusted keys are arbitrary texts, separated by NUL: no panic, and no
//! signer without a signature.
#![no_main]

use flux_git::{Commit, Hash, Person, TrustedKeys};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(4, |byte| *byte == 0);
    let mut part = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (signature, payload) = (part(), part());
    let keys = TrustedKeys {
        pgp: vec![part()],
        ssh: vec![part()],
    };
    let commit = Commit {
        hash: Hash::new(""),
        reference: String::new(),
        author: Person::default(),
        committer: Person::default(),
        signature,
        encoded: payload.into_bytes(),
        message: String::new(),
        referencing_tag: None,
    };
    if commit.verify(&keys).is_ok() {
        assert!(!commit.signature.is_empty() && !commit.encoded.is_empty());
    }
});
