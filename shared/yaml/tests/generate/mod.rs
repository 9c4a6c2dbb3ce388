//! Random documents and values that are hard on YAML readers and writers.

mod document;
mod hostile;
mod pools;
mod rates;
mod scalar;
mod values;

use document::Writer;
use rates::Rates;
// Each test file compiles this module on its own and uses parts of it.
#[allow(unused_imports, dead_code)]
pub(crate) use values::{text, value};

/// A deterministic random number generator.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// A stream of YAML documents, mostly valid.
pub(crate) fn document(r: &mut Random) -> String {
    if r.chance(10) {
        return hostile::soup(r);
    }
    let rates = Rates::any(r);
    let mut writer = Writer::new(r, rates);
    writer.stream();
    let mut out = writer.finish();
    match r.below(100) {
        0..10 => out = out.replace('\n', "\r\n"),
        10 | 11 => out = out.replace('\n', "\r"),
        _ => {}
    }
    if r.chance(10) {
        out.truncate(out.trim_end().len());
    }
    if r.chance(15) {
        hostile::mutate(r, &mut out);
    }
    out
}

/// As [`document`], sometimes in another encoding or with invalid bytes.
#[allow(dead_code)]
pub(crate) fn bytes(r: &mut Random) -> Vec<u8> {
    let text = document(r);
    hostile::encode(r, &text)
}
