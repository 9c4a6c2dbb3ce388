//! Parses arbitrary bytes as `known_hosts` and looks up arbitrary hosts, and parses a Secret with arbitrary keys: no
//! panic.
#![no_main]

use flux_git::{KnownHosts, TrustedKeys, needs_passphrase};
use flux_http::{Secret, SecretData};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &str, u16)| {
    let (bytes, host, port) = input;
    if let Ok(hosts) = KnownHosts::parse(bytes) {
        let _ = (hosts.algorithms(host, port), hosts.has_authority(host, port));
    }
    let _ = needs_passphrase(&Secret::new(bytes));
    let entries = [("a.asc", bytes), ("b.sshpub", bytes)];
    let _ = TrustedKeys::from_secret(&SecretData::new("ns", "keys", entries));
});
