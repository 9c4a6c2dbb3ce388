//! Parses arbitrary text as what stands in the status of an object with an artifact: its digest, URL and path.
#![no_main]

use flux_artifact::{Digest, is_artifact_of, with_host};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string().parse::<Digest>().as_ref(), Ok(&digest));
    }
    let _ = with_host(text, "localhost:1");
    let path = format!("gitrepository/ns/name/{text}");
    if is_artifact_of(&path, "GitRepository", "ns", "name") {
        assert!(!text.contains('/') && text != "..");
    }
});
