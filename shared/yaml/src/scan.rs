//! The scanner: converts text to tokens, comments included, by the rules of libyaml as go-yaml implements them.

mod comment;
mod fetch;
mod queue;
mod scalar;
mod tag;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::VecDeque;

pub(crate) use comment::Comment;
use queue::TokenQueue;

use crate::error::{Fault, Layer, Mark};
use crate::resolve::Flavor;

/// The maximum nesting of collections. go-yaml allows 10,000, which would overflow a thread's stack in the code that
/// walks the tree afterwards.
pub const MAX_DEPTH: usize = 256;

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScalarStyle {
    Plain,
    Single,
    Double,
    Literal,
    Folded,
}

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    StreamStart,
    StreamEnd,
    VersionDirective,
    TagDirective,
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias,
    Anchor,
    Tag,
    Scalar,
}

/// The content of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenData<'i> {
    None,
    /// Major and minor number of a `%YAML` directive.
    Version(i8, i8),
    /// Handle and prefix of a `%TAG` directive, or handle and suffix of a tag.
    Pair(Box<(String, String)>),
    /// Name of an anchor or alias.
    Name(&'i str),
    /// Text of a scalar.
    Scalar(Cow<'i, str>, ScalarStyle),
}

/// A token and its position.
#[derive(Clone, Debug)]
pub(crate) struct Token<'i> {
    pub(crate) kind: TokenKind,
    pub(crate) data: TokenData<'i>,
    pub(crate) start: Mark,
    pub(crate) end: Mark,
}

/// A position where an implicit key may have started.
#[derive(Clone, Copy, Debug, Default)]
struct SimpleKey {
    possible: bool,
    required: bool,
    token_number: usize,
    mark: Mark,
}

/// Scans text into tokens.
pub(crate) struct Scanner<'i> {
    text: &'i str,
    flavor: Flavor,
    mark: Mark,
    /// Line breaks since the last character that is neither blank nor break.
    newlines: u32,
    started: bool,
    /// Whether the end of the stream has been scanned.
    scanned_all: bool,
    /// Whether the end of the stream has been taken.
    ended: bool,
    /// Whether the head of the queue may be returned.
    ready: bool,
    indent: i32,
    indents: Vec<i32>,
    flow_level: usize,
    key_allowed: bool,
    keys: Vec<SimpleKey>,
    /// Indexes of tokens that may turn out to begin a key, with the index of that key.
    keyed_tokens: VecDeque<(usize, usize)>,
    queue: TokenQueue<'i>,
    /// Whether a lookahead went past the end of the text.
    starved: Cell<bool>,
    /// Comments that are not yet assigned to a token.
    pub(crate) comments: VecDeque<Comment>,
}

pub(crate) type Scan<T> = Result<T, Fault>;

impl<'i> Scanner<'i> {
    pub(crate) fn new(text: &'i str, flavor: Flavor) -> Self {
        Scanner {
            text,
            flavor,
            mark: Mark::default(),
            newlines: 0,
            started: false,
            scanned_all: false,
            ended: false,
            ready: false,
            indent: -1,
            indents: Vec::new(),
            flow_level: 0,
            key_allowed: false,
            keys: Vec::new(),
            keyed_tokens: VecDeque::new(),
            queue: TokenQueue::default(),
            starved: Cell::new(false),
            comments: VecDeque::new(),
        }
    }

    /// The next token, without removing it.
    pub(crate) fn peek(&mut self) -> Scan<&mut Token<'i>> {
        if !self.ready {
            self.fetch_more()?;
        }
        // The queue is never empty here: scanning stops only after the token for the end of the stream is queued.
        let mark = self.mark;
        self.queue
            .head()
            .ok_or_else(|| fault(Layer::Parser, "unexpected end of stream", mark, mark))
    }

    /// Removes the next token.
    pub(crate) fn take_token(&mut self) -> Option<Token<'i>> {
        self.ready = false;
        let token = self.queue.pop()?;
        self.ended = token.kind == TokenKind::StreamEnd;
        Some(token)
    }

    /// Whether the last token has been removed.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Whether reading has reached the end of the text.
    pub(crate) fn touched_end(&self) -> bool {
        self.starved.get()
    }

    /// Records a lookahead of this many characters, whether they are read or not.
    fn want(&self, chars: usize) {
        // Fast path: enough text even if every character has the maximum width.
        if self.mark.at() + 4 * chars > self.text.len() {
            let rest = self.text.get(self.mark.at()..).unwrap_or("");
            if rest.chars().nth(chars - 1).is_none() {
                self.starved.set(true);
            }
        }
    }

    fn error<T>(&self, context: Mark, problem: impl Into<Cow<'static, str>>) -> Scan<T> {
        Err(fault(Layer::Scanner, problem, context, self.mark))
    }

    /// The byte at an offset from here; 0 at the end of the text, which no text contains.
    fn byte(&self, ahead: usize) -> u8 {
        if let Some(byte) = self.text.as_bytes().get(self.mark.at() + ahead) {
            return *byte;
        }
        self.starved.set(true);
        0
    }

    /// The remaining bytes.
    fn rest(&self) -> &'i [u8] {
        self.text.as_bytes().get(self.mark.at()..).unwrap_or(&[])
    }

    /// Skips blanks other than tabs.
    fn skip_spaces(&mut self) {
        let blanks = self.rest().iter().take_while(|byte| **byte == b' ');
        let count = blanks.count() as u32;
        self.mark.byte += count;
        self.mark.index += count;
        self.mark.column += count;
    }

    fn is_end(&self) -> bool {
        self.byte(0) == 0
    }

    fn is_blank(&self, ahead: usize) -> bool {
        matches!(self.byte(ahead), b' ' | b'\t')
    }

    fn is_break(&self, ahead: usize) -> bool {
        break_width(self.text.as_bytes(), self.mark.at() + ahead) > 0
    }

    fn is_break_or_end(&self, ahead: usize) -> bool {
        self.byte(ahead) == 0 || self.is_break(ahead)
    }

    fn is_blank_or_end(&self, ahead: usize) -> bool {
        self.is_blank(ahead) || self.is_break_or_end(ahead)
    }

    /// Skips one character.
    fn advance(&mut self) {
        let byte = self.byte(0);
        if !matches!(byte, b' ' | b'\t') {
            self.newlines = 0;
        }
        self.mark.index += 1;
        self.mark.column += 1;
        self.mark.byte += char_width(byte) as u32;
    }

    /// Skips `bytes` bytes without a line break.
    fn advance_run(&mut self, bytes: usize) -> &'i str {
        let run = self
            .text
            .get(self.mark.at()..self.mark.at() + bytes)
            .unwrap_or("");
        if run.bytes().any(|b| !matches!(b, b' ' | b'\t')) {
            self.newlines = 0;
        }
        let chars = if run.is_ascii() {
            bytes
        } else {
            run.chars().count()
        };
        self.mark.index += chars as u32;
        self.mark.column += chars as u32;
        self.mark.byte += bytes as u32;
        run
    }

    /// Skips a line break; `\r\n` is one.
    fn advance_line(&mut self) {
        let (bytes, chars) = if self.byte(0) == b'\r' && self.byte(1) == b'\n' {
            (2, 2)
        } else {
            match break_width(self.text.as_bytes(), self.mark.at()) {
                0 => return,
                width => (width, 1),
            }
        };
        self.mark.byte += bytes as u32;
        self.mark.index += chars as u32;
        self.mark.column = 0;
        self.mark.line += 1;
        self.newlines += 1;
    }

    /// Skips a line break and appends its normalised form.
    fn read_line(&mut self, out: &mut String) {
        if self.byte(0) == 0xE2 {
            if let Some(separator) = self.text.get(self.mark.at()..self.mark.at() + 3) {
                out.push_str(separator);
            }
        } else {
            out.push('\n');
        }
        self.advance_line();
    }
}

pub(crate) fn fault(
    layer: Layer,
    problem: impl Into<Cow<'static, str>>,
    context: Mark,
    at: Mark,
) -> Fault {
    Fault {
        layer,
        problem: problem.into(),
        context,
        at,
    }
}

/// The length of the line break at this position in bytes, 0 without one; of `\r\n` only the first half counts.
pub(crate) fn break_width(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'\n' | b'\r') => 1,
        Some(0xC2) if bytes.get(at + 1) == Some(&0x85) => 2,
        Some(0xE2)
            if bytes.get(at + 1) == Some(&0x80)
                && matches!(bytes.get(at + 2), Some(0xA8 | 0xA9)) =>
        {
            3
        }
        _ => 0,
    }
}

fn char_width(first: u8) -> usize {
    match first {
        0..0x80 => 1,
        0x80..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0.. => 4,
    }
}

/// The characters of anchor names, tag handles and directives.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}
