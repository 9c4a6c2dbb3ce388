//! The queue of tokens between scanner and parser.

use super::{Token, TokenKind};
use crate::error::Mark;

/// Room that Go gives its slice of tokens as it grows by doubling and rounds up to its allocator's size classes.
const GO_CAPACITIES: [usize; 5] = [16, 33, 67, 142, 284];

/// Tokens that are scanned and not yet parsed.
///
/// How comments are attached depends on the last two tokens, even those already parsed, as far as they are
/// still in go-yaml's buffer; so the moments at which that buffer is compacted are followed here.
pub(super) struct TokenQueue<'i> {
    /// `None` for those already handed out.
    tokens: Vec<Slot<'i>>,
    head: usize,
    capacity: usize,
    /// Tokens handed out since the beginning.
    pub(super) taken: usize,
}

enum Slot<'i> {
    Waiting(Token<'i>),
    Taken { role: Role, start: Mark },
}

/// What the attachment of comments needs to know about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    BlockSequenceStart,
    BlockEntry,
    FlowEntry,
    Value,
    Other,
}

impl Default for TokenQueue<'_> {
    fn default() -> Self {
        TokenQueue {
            tokens: Vec::new(),
            head: 0,
            capacity: GO_CAPACITIES[0],
            taken: 0,
        }
    }
}

impl<'i> TokenQueue<'i> {
    /// Tokens waiting.
    pub(super) fn waiting(&self) -> usize {
        self.tokens.len() - self.head
    }

    /// The token to be handed out next.
    pub(super) fn head(&mut self) -> Option<&mut Token<'i>> {
        match self.tokens.get_mut(self.head) {
            Some(Slot::Waiting(token)) => Some(token),
            _ => None,
        }
    }

    /// Hands out the next token.
    pub(super) fn pop(&mut self) -> Option<Token<'i>> {
        let slot = self.tokens.get_mut(self.head)?;
        let Slot::Waiting(token) = slot else {
            return None;
        };
        let past = Slot::Taken {
            role: role(token.kind),
            start: token.start,
        };
        let Slot::Waiting(token) = std::mem::replace(slot, past) else {
            return None;
        };
        self.head += 1;
        self.taken += 1;
        Some(token)
    }

    /// Adds a token at the end, or before the token with this number when it is still waiting.
    pub(super) fn insert(&mut self, number: Option<usize>, token: Token<'i>) {
        if self.tokens.len() == self.capacity {
            if self.head > 0 {
                self.tokens.drain(..self.head);
                self.head = 0;
            } else {
                self.capacity = GO_CAPACITIES
                    .into_iter()
                    .find(|&c| c > self.capacity)
                    .unwrap_or(self.capacity + (self.capacity + 768) / 4);
            }
        }
        let at = number
            .and_then(|number| number.checked_sub(self.taken))
            .map(|ahead| self.head + ahead)
            .filter(|&at| at < self.tokens.len());
        match at {
            Some(at) => self.tokens.insert(at, Slot::Waiting(token)),
            None => self.tokens.push(Slot::Waiting(token)),
        }
    }

    /// Role and start of the token `back` places from the end of the buffer.
    pub(super) fn recent(&self, back: usize) -> Option<(Role, Mark)> {
        let at = self.tokens.len().checked_sub(back + 1)?;
        Some(match self.tokens.get(at)? {
            Slot::Waiting(token) => (role(token.kind), token.start),
            Slot::Taken { role, start } => (*role, *start),
        })
    }

    /// Tokens in the buffer, those handed out included.
    pub(super) fn buffered(&self) -> usize {
        self.tokens.len()
    }
}

fn role(kind: TokenKind) -> Role {
    match kind {
        TokenKind::BlockSequenceStart => Role::BlockSequenceStart,
        TokenKind::BlockEntry => Role::BlockEntry,
        TokenKind::FlowEntry => Role::FlowEntry,
        TokenKind::Value => Role::Value,
        _ => Role::Other,
    }
}
