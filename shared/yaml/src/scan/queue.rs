//! The queue of tokens between scanner and parser.

use super::{Token, TokenData, TokenKind};
use crate::error::Mark;

/// Capacities of Go's slice of tokens: it grows by doubling, rounded up to the allocator's size classes.
const GO_CAPACITIES: [usize; 5] = [16, 33, 67, 142, 284];

/// Tokens that are scanned and not yet parsed.
///
/// Comments are attached depending on the last two tokens, even if already parsed, as long as they are in go-yaml's
/// buffer; so this reproduces the moments at which that buffer is compacted.
pub(super) struct TokenQueue<'i> {
    /// Tokens that were returned have no data.
    tokens: Vec<Token<'i>>,
    head: usize,
    capacity: usize,
    /// The number of tokens returned since the beginning.
    pub(super) taken: usize,
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
    /// The number of waiting tokens.
    pub(super) fn waiting(&self) -> usize {
        self.tokens.len() - self.head
    }

    /// The token that is returned next.
    pub(super) fn head(&mut self) -> Option<&mut Token<'i>> {
        self.tokens.get_mut(self.head)
    }

    /// Removes the next token.
    pub(super) fn pop(&mut self) -> Option<Token<'i>> {
        let token = self.tokens.get_mut(self.head)?;
        self.head += 1;
        self.taken += 1;
        Some(Token {
            kind: token.kind,
            data: std::mem::replace(&mut token.data, TokenData::None),
            start: token.start,
            end: token.end,
        })
    }

    /// Appends a token, or inserts it before the token with this number if that is still waiting.
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
            Some(at) => self.tokens.insert(at, token),
            None => self.tokens.push(token),
        }
    }

    /// Kind and start of the token `back` positions from the end of the buffer.
    pub(super) fn recent(&self, back: usize) -> Option<(TokenKind, Mark)> {
        let at = self.tokens.len().checked_sub(back + 1)?;
        self.tokens.get(at).map(|token| (token.kind, token.start))
    }

    /// The number of tokens in the buffer, including returned ones.
    pub(super) fn buffered(&self) -> usize {
        self.tokens.len()
    }
}
