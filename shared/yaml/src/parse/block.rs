//! Block collections.

use super::{Event, EventKind, Next, Parser, Place, State};
use crate::error::Mark;
use crate::scan::{Scan, TokenKind};

impl<'i> Parser<'i> {
    pub(super) fn sequence_entry(&mut self, first: bool) -> Scan<Event<'i>> {
        if first {
            self.open()?;
        }
        let next = self.peek()?;
        match next.kind {
            TokenKind::BlockEntry => {
                let after = self.enter_item()?;
                if matches!(after.kind, TokenKind::BlockEntry | TokenKind::BlockEnd) {
                    self.state = State::SequenceEntry;
                    return Ok(Self::empty_scalar(next.end));
                }
                self.states.push(State::SequenceEntry);
                self.node(Place::Block)
            }
            TokenKind::BlockEnd => {
                let event = self.close(EventKind::SequenceEnd, next);
                self.take();
                Ok(event)
            }
            _ => self.collection_error("did not find expected '-' indicator", next.start),
        }
    }

    /// Skips a `-`.
    fn enter_item(&mut self) -> Scan<Next> {
        let head = self.comments.head.len();
        self.take();
        let after = match self.peek() {
            // go-yaml ignores an error here and continues scanning, which usually leads to another.
            Err(first) if head > 0 => {
                let after = self.peek()?;
                self.passed_over = Some(first);
                after
            }
            after => after?,
        };
        if head > 0
            && matches!(
                after.kind,
                TokenKind::BlockSequenceStart | TokenKind::BlockMappingStart
            )
        {
            let rest = if self.comments.head.len() > head {
                let rest = self.comments.head.split_off(head);
                rest.strip_prefix('\n').unwrap_or(&rest).to_owned()
            } else {
                String::new()
            };
            self.stem = Some(std::mem::replace(&mut self.comments.head, rest));
        }
        Ok(after)
    }

    pub(super) fn indentless_entry(&mut self) -> Scan<Event<'i>> {
        let next = self.peek()?;
        if next.kind != TokenKind::BlockEntry {
            self.pop_state();
            return Ok(Event::new(EventKind::SequenceEnd, next.start, next.start));
        }
        let after = self.enter_item()?;
        if matches!(
            after.kind,
            TokenKind::BlockEntry | TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd
        ) {
            self.state = State::IndentlessEntry;
            return Ok(Self::empty_scalar(next.end));
        }
        self.states.push(State::IndentlessEntry);
        self.node(Place::Block)
    }

    pub(super) fn mapping_key(&mut self, first: bool) -> Scan<Event<'i>> {
        if first {
            self.open()?;
        }
        let next = self.peek()?;
        match next.kind {
            TokenKind::Key => {
                self.take();
                self.node_or_empty(State::MappingValue, next.end)
            }
            TokenKind::BlockEnd => {
                let mut event = self.close(EventKind::MappingEnd, next);
                self.give_comments(&mut event);
                self.take();
                Ok(event)
            }
            _ => self.collection_error("did not find expected key", next.start),
        }
    }

    pub(super) fn mapping_value(&mut self) -> Scan<Event<'i>> {
        let next = self.peek()?;
        if next.kind != TokenKind::Value {
            self.state = State::MappingKey;
            return Ok(Self::empty_scalar(next.start));
        }
        self.take();
        self.node_or_empty(State::MappingKey, next.end)
    }

    /// A key or value of a block mapping, which may be omitted.
    fn node_or_empty(&mut self, then: State, at: Mark) -> Scan<Event<'i>> {
        let next = self.peek()?;
        if matches!(
            next.kind,
            TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd
        ) {
            self.state = then;
            return Ok(Self::empty_scalar(at));
        }
        self.states.push(then);
        self.node(Place::BlockOrIndentlessSequence)
    }
}
