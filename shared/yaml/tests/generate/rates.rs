//! How often each feature occurs in a generated document.

use super::Random;

/// The probability of each feature in percent.
#[derive(Clone, Copy)]
pub(super) struct Rates {
    /// Comment lines above an entry.
    pub(super) above: usize,
    /// Comments at the end of a line.
    pub(super) beside: usize,
    /// Empty lines.
    pub(super) blank: usize,
    pub(super) anchor: usize,
    pub(super) alias: usize,
    pub(super) merge: usize,
    pub(super) tag: usize,
    /// Flow collections among values.
    pub(super) flow: usize,
    /// Block scalars among scalars.
    pub(super) block: usize,
    /// Long texts among scalars.
    pub(super) long: usize,
    /// Keys after `?`, collections and aliases as keys.
    pub(super) odd_key: usize,
    /// Omitted values.
    pub(super) empty: usize,
    /// Directives, and further documents.
    pub(super) further: usize,
}

const USUAL: Rates = Rates {
    above: 8,
    beside: 12,
    blank: 4,
    anchor: 7,
    alias: 7,
    merge: 4,
    tag: 2,
    flow: 15,
    block: 17,
    long: 4,
    odd_key: 2,
    empty: 2,
    further: 8,
};

impl Rates {
    /// The usual mix, or one dominated by a single feature.
    pub(super) fn any(r: &mut Random) -> Rates {
        match r.below(16) {
            0 | 1 => Rates {
                above: 40,
                beside: 45,
                blank: 20,
                empty: 8,
                ..USUAL
            },
            2 => Rates {
                anchor: 30,
                alias: 30,
                merge: 30,
                odd_key: 6,
                ..USUAL
            },
            3 => Rates { tag: 35, ..USUAL },
            4 => Rates { block: 80, ..USUAL },
            5 => Rates {
                flow: 70,
                beside: 25,
                ..USUAL
            },
            6 => Rates { long: 60, ..USUAL },
            7 => Rates {
                odd_key: 35,
                empty: 20,
                ..USUAL
            },
            8 => Rates {
                further: 70,
                beside: 25,
                above: 20,
                ..USUAL
            },
            _ => USUAL,
        }
    }
}
