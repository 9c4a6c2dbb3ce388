//! Servers whose responses are damaged in transit: a clear error, never a panic, never an endless wait.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flux_git::{FetchOptions, Fetched};
use git_servers::{HttpGitServer, Repo};
use support::{fetch_with, files, remote};

/// A random number generator seeded by the case number.
fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// Cuts, repeats or changes some bytes.
fn damage(mut bytes: Vec<u8>, seed: u64) -> Vec<u8> {
    let mut random = random(seed);
    let length = bytes.len().max(1) as u64;
    let at = (random() % length) as usize;
    match seed % 4 {
        0 => bytes.truncate(at),
        1 => bytes.extend_from_within(at..),
        2 => {
            for _ in 0..3 {
                let at = (random() % length) as usize;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random() as u8;
                }
            }
        }
        // The length of a packet, or something else that looks like one.
        _ => {
            let at = (random() % 8 * 4) as usize;
            let end = (at + 4).min(bytes.len());
            if let Some(part) = bytes.get_mut(at..end) {
                let digits = format!("{:04x}", random() % 0xffff);
                part.copy_from_slice(&digits.as_bytes()[..part.len()]);
            }
        }
    }
    bytes
}

#[tokio::test]
async fn damaged_answers_are_errors() {
    // RT-GIT-015
    for old_protocol in [false, true] {
        let seed = Arc::new(AtomicU64::new(0));
        let (case, which) = (Arc::clone(&seed), Arc::clone(&seed));
        let mut builder = HttpGitServer::builder().mangle(move |target, body| {
            // The discovery, or what follows it.
            let hit =
                which.load(Ordering::SeqCst).is_multiple_of(3) == target.contains("info/refs");
            if hit {
                damage(body, case.load(Ordering::SeqCst))
            } else {
                body
            }
        });
        if old_protocol {
            builder = builder.without_protocol_v2();
        }
        let server = builder.start();
        let repo = Repo::init(server.root(), "app.git");
        let noise: Vec<u8> = (0..2000_u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let text = "text\n".repeat(500);
        repo.commit("main")
            .file("a", "1")
            .file("noise", &noise)
            .file("dir/text", &text)
            .create();
        let remote = remote(&server.url("app.git"));
        let (mut failed, mut whole) = (0, 0);
        for number in 1..120 {
            seed.store(number, Ordering::SeqCst);
            match fetch_with(&remote, "branch=main", &FetchOptions::default()).await {
                // Data outside of the objects may change unnoticed; objects may not.
                Ok(Fetched::Snapshot(snapshot)) => {
                    let found = files(&snapshot);
                    assert_eq!(found["a"], "1", "case {number}");
                    assert_eq!(found["dir/text"], text, "case {number}");
                    whole += 1;
                }
                Ok(Fetched::Empty) => whole += 1,
                Ok(other) => panic!("case {number}: {other:?}"),
                Err(error) => {
                    assert!(error.starts_with("unable to "), "case {number}: {error}");
                    failed += 1;
                }
            }
        }
        assert!(failed > 30, "{failed} of {whole}");
    }
}
