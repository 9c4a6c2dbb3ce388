//! Where the scalars of a stream of events are in the text.

use std::ops::Range;

use crate::parse::{Event, EventKind};
use crate::scan::ScalarStyle;

/// The position of a scalar, a key's included.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) range: Range<usize>,
    /// From 1.
    pub(crate) line: u32,
    /// In characters, from 1.
    pub(crate) column: u32,
    pub(crate) in_flow: bool,
    /// Whether anything but blanks separates it from the previous scalar.
    pub(crate) apart: bool,
}

/// Takes the positions of the scalars from the events that pass by.
#[derive(Debug)]
pub(crate) struct Spans<'t> {
    text: &'t str,
    /// The bytes before the text.
    skipped: usize,
    found: Vec<Span>,
    /// One entry for each open collection: whether it is in flow style.
    open: Vec<bool>,
    /// The end of the previous scalar or alias.
    last: usize,
}

impl<'t> Spans<'t> {
    /// For the events of this text, which `skipped` bytes precede.
    pub(crate) fn new(text: &'t str, skipped: usize) -> Self {
        Self {
            text,
            skipped,
            found: Vec::new(),
            open: Vec::new(),
            last: 0,
        }
    }

    /// Those found since this was last called, in text order.
    pub(crate) fn take(&mut self) -> Vec<Span> {
        std::mem::take(&mut self.found)
    }

    pub(crate) fn see(&mut self, event: &Event<'_>) {
        match event.kind {
            EventKind::SequenceStart { flow } | EventKind::MappingStart { flow } => {
                self.open.push(flow);
            }
            EventKind::SequenceEnd | EventKind::MappingEnd => {
                self.open.pop();
            }
            EventKind::Scalar(_, style) => {
                let start = event.content.at();
                let mut end = event.end.at().max(start);
                let between = self.text.get(self.last..start).unwrap_or("");
                let apart = !between.trim().is_empty();
                self.last = end;
                if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
                    end = start + block_length(self.text.get(start..end).unwrap_or(""));
                }
                self.found.push(Span {
                    range: start + self.skipped..end + self.skipped,
                    line: event.content.line + 1,
                    column: event.content.column + 1,
                    in_flow: self.open.contains(&true),
                    apart,
                });
            }
            EventKind::Alias(_) => self.last = event.end.at(),
            _ => {}
        }
    }
}

/// The bytes of a block scalar up to its last line of text: its end mark is after the empty lines that follow it.
/// Blanks beyond the indentation are text.
fn block_length(block: &str) -> usize {
    let lines = block.split_inclusive('\n').skip(1);
    let blanks = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let first = lines.clone().find(|line| !line.trim().is_empty());
    let indent = first.map_or(usize::MAX, blanks);
    let mut length = block.len();
    for line in lines.collect::<Vec<_>>().into_iter().rev() {
        let text = line.trim_end_matches(['\n', '\r']);
        if text.len() > indent || text.len() > blanks(text) {
            break;
        }
        length -= line.len();
    }
    length
}
