//! Determines the styles that a text may be written in (HE-YAML-008 to HE-YAML-011).

use crate::resolve::Flavor;
use crate::scan::break_width;

/// The styles that a scalar's text permits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Analysis {
    pub(super) multiline: bool,
    pub(super) flow_plain: bool,
    pub(super) block_plain: bool,
    pub(super) single_quoted: bool,
    pub(super) block: bool,
}

impl Analysis {
    /// The fast path for a single line of printable ASCII, which most texts are.
    fn of_ascii_line(value: &str) -> Option<Analysis> {
        let bytes = value.as_bytes();
        let (&first, rest) = bytes.split_first()?;
        let last = rest.last().copied().unwrap_or(first);
        let meaning = |byte: &u8| MEANINGS[usize::from(*byte)];
        let found = rest.iter().fold(0, |found, byte| found | meaning(byte));
        if (found | meaning(&first)) & ELSE != 0 {
            return None;
        }
        let (flow, mut block) = indicators(first, true, true, matches!(rest, [] | [b' ', ..]));
        if found & MARK != 0 {
            block |= last == b':'
                || bytes.windows(2).skip(1).any(|pair| pair == b": ")
                || bytes.windows(2).any(|pair| pair == b" #");
        }
        let flow = flow || found & FLOW != 0 || rest.contains(&b':') || block;
        let marker = value.starts_with("---") || value.starts_with("...");
        let blank_ends = first == b' ' || last == b' ';
        Some(Analysis {
            multiline: false,
            flow_plain: !(flow || marker || blank_ends),
            block_plain: !(block || marker || blank_ends),
            single_quoted: true,
            block: last != b' ',
        })
    }

    pub(super) fn new(value: &str, flavor: Flavor) -> Analysis {
        let bytes = value.as_bytes();
        if bytes.is_empty() {
            return Analysis {
                multiline: false,
                flow_plain: false,
                block_plain: true,
                single_quoted: true,
                block: false,
            };
        }
        if let Some(analysis) = Analysis::of_ascii_line(value) {
            return analysis;
        }
        let marker = value.starts_with("---") || value.starts_with("...");
        let mut block_indicators = marker;
        let mut flow_indicators = marker;
        let mut breaks = false;
        let mut special = false;
        let mut tabs = false;
        let mut break_then_space = false;
        let mut space_then_break = false;
        let mut previous = Previous::Other;
        let mut after_blank = true;

        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            let width = char_width(byte);
            let next = at + width;
            let before_blank = matches!(bytes.get(next), None | Some(b' ' | b'\t'));
            let (flow, block) = indicators(byte, at == 0, after_blank, before_blank);
            flow_indicators |= flow;
            block_indicators |= block;

            if byte == b'\t' {
                tabs = true;
            } else if !is_printable(bytes, at) {
                special = true;
            }
            let is_break = break_width(bytes, at) > 0;
            if byte == b' ' {
                break_then_space |= previous == Previous::Break;
                previous = Previous::Space;
            } else if is_break {
                breaks = true;
                space_then_break |= previous == Previous::Space;
                previous = Previous::Break;
            } else {
                previous = Previous::Other;
            }
            after_blank = is_break || matches!(byte, b' ' | b'\t' | 0);
            at = next;
        }
        if tabs && flavor == Flavor::V2 {
            special = true;
        }
        let leading = bytes[0] == b' ' || break_width(bytes, 0) > 0;
        let trailing_space = bytes.ends_with(b" ");
        let trailing = trailing_space || previous == Previous::Break;

        let no_plain = leading
            || trailing
            || breaks
            || break_then_space
            || space_then_break
            || tabs
            || special;
        Analysis {
            multiline: breaks,
            flow_plain: !no_plain && !flow_indicators,
            block_plain: !no_plain && !block_indicators,
            single_quoted: !(break_then_space || space_then_break || tabs || special),
            block: !(trailing_space || space_then_break || special),
        }
    }
}

/// The meanings that a byte can have in a single line of ASCII.
const FLOW: u8 = 1;
const MARK: u8 = 1 << 1;
const ELSE: u8 = 1 << 2;

/// The meanings of each byte after the first.
const MEANINGS: [u8; 256] = {
    let mut meanings = [ELSE; 256];
    let mut byte = 0x20;
    while byte < 0x7F {
        meanings[byte] = match byte as u8 {
            b',' | b'?' | b'[' | b']' | b'{' | b'}' => FLOW,
            b':' | b'#' => MARK,
            _ => 0,
        };
        byte += 1;
    }
    meanings
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Previous {
    Space,
    Break,
    Other,
}

/// Whether a character rules out a plain scalar in flow and in block collections.
fn indicators(byte: u8, first: bool, after_blank: bool, before_blank: bool) -> (bool, bool) {
    if first {
        return match byte {
            b'#' | b',' | b'[' | b']' | b'{' | b'}' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\''
            | b'"' | b'%' | b'@' | b'`' => (true, true),
            b'?' | b':' => (true, before_blank),
            b'-' => (before_blank, before_blank),
            _ => (false, false),
        };
    }
    match byte {
        b',' | b'?' | b'[' | b']' | b'{' | b'}' => (true, false),
        b':' => (true, before_blank),
        b'#' => (after_blank, after_blank),
        _ => (false, false),
    }
}

/// What go-yaml considers printable: no control character except newline, and nothing above U+FFFF.
pub(super) fn is_printable(bytes: &[u8], at: usize) -> bool {
    let next = |ahead: usize| bytes.get(at + ahead).copied().unwrap_or(0);
    match bytes.get(at) {
        Some(0x0A | 0x20..=0x7E | 0xC3..=0xEC | 0xEE) => true,
        Some(0xC2) => next(1) >= 0xA0,
        Some(0xED) => next(1) < 0xA0,
        Some(0xEF) => {
            !(next(1) == 0xBB && next(2) == 0xBF
                || next(1) == 0xBF && matches!(next(2), 0xBE | 0xBF))
        }
        _ => false,
    }
}

pub(super) fn char_width(first: u8) -> usize {
    match first {
        0..0x80 => 1,
        0x80..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0.. => 4,
    }
}
