//! Feeds damaged input to every parser of server data: none may panic, exceed its memory budget, or return anything
//! inconsistent.
//!
//! The input is mutated from the files of `tests/corpus/<parser>` with a fixed seed, so that a case is identified by
//! its number. `FLUX_GIT_MUTATIONS=1000000` sets the number of cases per parser; failing input becomes a file of the
//! corpus.

use std::io::{Read as _, Seek as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use flux_budget::Budget;
use gix::hash::ObjectId;
use gix::objs::TreeRefIter;
use rstest::rstest;
use sha1::{Digest as _, Sha1};

use crate::known_hosts::KnownHosts;
use crate::object::{Commit, Tag};
use crate::pack;
use crate::revision::Hash;
use crate::session::{Limits, Session};
use crate::url::GitUrl;
use crate::wire::{Advertisement, PackStream, Packets, list, read_references};

/// The default number of cases per parser.
const CASES: u64 = 400;
/// The memory budget of one case, in bytes.
const BUDGET: u64 = 8 << 20;

/// A random number generator seeded by the case number.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below.max(1)
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.next(most);
        (0..length).map(|_| self.next(256) as u8).collect()
    }
}

/// Mutates a file of the corpus in one to four places.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.next(corpus.len())].clone();
    for _ in 0..=random.next(4) {
        let at = random.next(input.len() + 1);
        let end = (at + random.next(16)).min(input.len());
        match random.next(9) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => {
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            3 => drop(input.splice(at..at, random.bytes(8))),
            4 => {
                let other = &corpus[random.next(corpus.len())];
                let from = random.next(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            5 => {
                // The length of a packet, or something that looks like one.
                let digits = format!("{:04x}", random.next(0x1_0000));
                let end = (at + 4).min(input.len());
                drop(input.splice(at..end, digits.into_bytes()));
            }
            6 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = [0, 1, 0x7f, 0x80, 0xff, b' ', b'\n', b'/'][random.next(8)];
                }
            }
            7 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.next(8);
                }
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = random.next(256) as u8;
                }
            }
        }
    }
    input
}

/// The environment that the parsers need.
struct Bench {
    session: Arc<Session>,
    budget: Budget,
    file: std::fs::File,
    _runtime: tokio::runtime::Runtime,
}

#[allow(
    clippy::unused_self,
    reason = "the table of parsers wants one signature"
)]
impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let session = Session::detached(runtime.handle().clone(), Limits::default());
        Self {
            session: Arc::new(session),
            budget: Budget::new(BUDGET),
            file: tempfile::tempfile().unwrap(),
            _runtime: runtime,
        }
    }

    fn packets(&mut self, input: &[u8]) {
        let mut packets = Packets::new(input);
        while let Ok(Some(_)) = packets.next() {}
    }

    fn advertisement(&mut self, input: &[u8]) {
        let claim = Arc::new(self.budget.claim());
        if let Ok(server) = Advertisement::read(&mut Packets::new(input), &claim) {
            let _ = (server.has("agent"), list(&server, &["refs/heads/"]));
            let fetch = crate::wire::Fetch {
                wants: &[ObjectId::null(gix::hash::Kind::Sha1)],
                depth: std::num::NonZeroU32::new(1),
            };
            let _ = fetch.encode(&server);
        }
    }

    fn references(&mut self, input: &[u8]) {
        let claim = Arc::new(self.budget.claim());
        let found = read_references(&mut Packets::new(input), &["refs/tags/"], &claim);
        for listed in found.iter().flat_map(|found| found.iter()) {
            assert!(listed.name.starts_with("refs/tags/"));
        }
    }

    fn answer_v2(&mut self, input: &[u8]) {
        if let Ok(mut stream) = PackStream::v2(Packets::new(input)) {
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    }

    fn answer_v0(&mut self, input: &[u8]) {
        for side_band in [true, false] {
            if let Ok(mut stream) = PackStream::v0(Packets::new(input), side_band) {
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            }
        }
    }

    /// Parses a pack with its checksum corrected, so that the damage is detected later.
    fn pack(&mut self, input: &[u8]) {
        let mut input = input.to_vec();
        let body = input.len().saturating_sub(20);
        input.truncate(body);
        input.extend(Sha1::digest(&input));
        self.file.set_len(0).unwrap();
        self.file.rewind().unwrap();
        let claim = Arc::new(self.budget.claim());
        let file = self.file.try_clone().unwrap();
        let received = pack::receive(&mut &input[..], file, 1 << 20, &self.session, &claim);
        let Ok(received) = received else { return };
        let received = Arc::new(received);
        let mut decoder = pack::Decoder::new(&claim, None);
        for id in received.ids() {
            let (kind, size) = received.header(&id).unwrap();
            let content = decoder.find(&received, &id).unwrap().unwrap();
            assert_eq!(content.len() as u64, size);
            let mut hash = Sha1::new();
            hash.update(format!("{kind} {size}\0"));
            hash.update(&content[..]);
            assert_eq!(hash.finalize()[..], *id.as_slice());
            let mut again = Vec::new();
            let stream = pack::Stream::open(&received, &mut decoder, &id).unwrap();
            stream.unwrap().read_to_end(&mut again).unwrap();
            assert!(again == content[..]);
        }
    }

    /// Parses a pack of an object and a delta of it made from the input.
    fn delta(&mut self, input: &[u8]) {
        let base = b"01234567";
        let mut entries = vec![0x38];
        entries.extend(compressed(base));
        entries.push(0x60 | 0x80 | (input.len() & 15) as u8);
        entries.push((input.len() >> 4 & 0x7f) as u8 | 0x80);
        entries.push((input.len() >> 11) as u8 & 0x7f);
        entries.push(entries.len() as u8 - 3);
        entries.extend(compressed(input));
        let mut pack = b"PACK\0\0\0\x02\0\0\0\x02".to_vec();
        pack.extend(entries);
        pack.extend([0; 20]);
        self.pack(&pack);
    }

    fn tree(&mut self, input: &[u8]) {
        for entry in TreeRefIter::from_bytes(input, gix::hash::Kind::Sha1).flatten() {
            let _ = (
                crate::tree_path::refusal(entry.filename),
                crate::tree_path::is_modules_file(entry.filename),
                entry.mode.kind(),
            );
        }
    }

    fn commit(&mut self, input: &[u8]) {
        let commit = Commit::parse(Hash::new(""), "refs/heads/main", input);
        let _ = (commit.revision(), commit.short_message());
        let _ = gix::objs::CommitRefIter::from_bytes(input, gix::hash::Kind::Sha1).tree_id();
    }

    fn tag(&mut self, input: &[u8]) {
        let _ = Tag::parse(Hash::new(""), input).to_string();
    }

    fn known_hosts(&mut self, input: &[u8]) {
        if let Ok(known) = KnownHosts::parse(input) {
            let _ = (known.algorithms("a.x", 22), known.has_authority("h", 2222));
        }
    }

    fn url(&mut self, input: &[u8]) {
        let text = String::from_utf8_lossy(input);
        if let Ok(url) = GitUrl::parse(&text) {
            let _ = (url.to_string(), url.without_user());
            if let Ok(joined) = url.join("../x") {
                assert_eq!(joined.transport(), url.transport());
            }
        }
    }

    fn modules(&mut self, input: &[u8]) {
        let _ = crate::submodules::parse(&String::from_utf8_lossy(input));
    }
}

fn compressed(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

// RT-GIT-015
#[rstest]
#[case::packets("packets", Bench::packets)]
#[case::advertisement("advertisement", Bench::advertisement)]
#[case::references("references", Bench::references)]
#[case::answer_v2("answer_v2", Bench::answer_v2)]
#[case::answer_v0("answer_v0", Bench::answer_v0)]
#[case::pack("pack", Bench::pack)]
#[case::delta("delta", Bench::delta)]
#[case::tree("tree", Bench::tree)]
#[case::commit("commit", Bench::commit)]
#[case::tag("tag", Bench::tag)]
#[case::known_hosts("known_hosts", Bench::known_hosts)]
#[case::url("url", Bench::url)]
#[case::modules("modules", Bench::modules)]
fn parsers_survive_mutated_input(#[case] name: &str, #[case] parse: fn(&mut Bench, &[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect();
    let cases = std::env::var("FLUX_GIT_MUTATIONS").map_or(CASES, |text| text.parse().unwrap());
    let mut bench = Bench::new();
    let whole = corpus.iter().cloned();
    let damaged = (1..=cases).map(|case| {
        let mut random = Random(case.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next(1);
        mutated(&corpus, &mut random)
    });
    for (case, input) in whole.chain(damaged).enumerate() {
        let parsed = catch_unwind(AssertUnwindSafe(|| parse(&mut bench, &input)));
        assert!(parsed.is_ok(), "case {case}: {}", input.escape_ascii());
        assert_eq!(
            bench.budget.used(),
            0,
            "case {case}: {}",
            input.escape_ascii()
        );
    }
}
