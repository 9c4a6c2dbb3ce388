//! Private keys as users give them: of age, SSH and OpenPGP. No panic, and nothing of them in an error.
#![no_main]

use flux_sops::Keyring;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut ring = Keyring::default();
    let errors = [
        ring.add_age(&text).err().map(|error| error.to_string()),
        ring.add_age_words(&text).err().map(|error| error.to_string()),
        ring.add_ssh(&text).err().map(|error| error.to_string()),
        ring.add_openpgp(data).err().map(|error| error.to_string()),
    ];
    for error in errors.into_iter().flatten() {
        assert!(error.len() < 200);
    }
});
