//! Feeds damaged input to every parser of server data: none may panic, exceed its memory budget, or return anything
//! inconsistent. The fuzz targets begin with the same corpus.
//!
//! The input is mutated from the files of `tests/corpus/<parser>` with a fixed seed, so that a case is identified by
//! its number. `FLUX_GIT_MUTATIONS=1000000` sets the number of cases per parser; failing input becomes a file of the
//! corpus.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rstest::rstest;

use crate::parsers::Parsers;

/// The default number of cases per parser.
const CASES: u64 = 400;

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

// RT-GIT-015
#[rstest]
#[case::packets("packets", Parsers::packets)]
#[case::advertisement("advertisement", Parsers::advertisement)]
#[case::references("references", Parsers::references)]
#[case::answer_v2("answer_v2", Parsers::answer_v2)]
#[case::answer_v0("answer_v0", Parsers::answer_v0)]
#[case::report("report", Parsers::report)]
#[case::conversation("conversation", Parsers::conversation)]
#[case::connect("connect", Parsers::connect)]
#[case::pack("pack", Parsers::pack)]
#[case::delta("delta", Parsers::delta)]
#[case::snapshot("snapshot", Parsers::snapshot)]
#[case::tree("tree", Parsers::tree)]
#[case::commit("commit", Parsers::commit)]
#[case::tag("tag", Parsers::tag)]
#[case::known_hosts("known_hosts", Parsers::known_hosts)]
#[case::url("url", Parsers::url)]
#[case::modules("modules", Parsers::modules)]
fn parsers_survive_mutated_input(#[case] name: &str, #[case] parse: fn(&mut Parsers, &[u8])) {
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
    let mut parsers = Parsers::new();
    let whole = corpus.iter().cloned();
    let damaged = (1..=cases).map(|case| {
        let mut random = Random(case.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next(1);
        mutated(&corpus, &mut random)
    });
    for (case, input) in whole.chain(damaged).enumerate() {
        let parsed = catch_unwind(AssertUnwindSafe(|| parse(&mut parsers, &input)));
        assert!(parsed.is_ok(), "case {case}: {}", input.escape_ascii());
        assert_eq!(parsers.memory(), 0, "case {case}: {}", input.escape_ascii());
    }
}
