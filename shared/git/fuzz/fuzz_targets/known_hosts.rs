//! Parses arbitrary bytes as `known_hosts` and looks up a host of its first line, and as a private key: no panic.
#![no_main]

use flux_git::{KnownHosts, TrustedKeys, needs_passphrase};
use flux_http::{Secret, SecretData};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let host = text.split([' ', ',', '\n']).next().unwrap_or_default();
    if let Ok(hosts) = KnownHosts::parse(bytes) {
        for (host, port) in [(host, 22), ("h", 2222)] {
            let _ = (
                hosts.algorithms(host, port),
                hosts.has_authority(host, port),
            );
        }
    }
    let _ = needs_passphrase(&Secret::new(bytes));
    let entries = [("a.asc", bytes), ("b.sshpub", bytes)];
    let _ = TrustedKeys::from_secret(&SecretData::new("ns", "keys", entries));
});
