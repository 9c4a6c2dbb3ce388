//! Flow collections.

use super::{Event, EventKind, Parser, Place, State};
use crate::scan::{Scan, TokenKind};

impl<'i> Parser<'i> {
    pub(super) fn flow_sequence_entry(&mut self, first: bool) -> Scan<Event<'i>> {
        if first {
            self.open()?;
        }
        let mut next = self.peek()?;
        if next.kind != TokenKind::FlowSequenceEnd {
            if !first {
                if next.kind != TokenKind::FlowEntry {
                    return self.collection_error("did not find expected ',' or ']'", next.start);
                }
                self.take();
                next = self.peek()?;
            }
            if next.kind == TokenKind::Key {
                self.state = State::PairKey;
                self.take();
                return Ok(Event::new(
                    EventKind::MappingStart { flow: true },
                    next.start,
                    next.end,
                ));
            }
            if next.kind != TokenKind::FlowSequenceEnd {
                self.states.push(State::FlowSequenceEntry);
                return self.node(Place::Flow);
            }
        }
        let mut event = self.close(EventKind::SequenceEnd, next);
        self.give_comments(&mut event);
        self.take();
        Ok(event)
    }

    pub(super) fn pair_key(&mut self) -> Scan<Event<'i>> {
        let next = self.peek()?;
        if matches!(
            next.kind,
            TokenKind::Value | TokenKind::FlowEntry | TokenKind::FlowSequenceEnd
        ) {
            // libyaml skips this token, whatever it is.
            self.take();
            self.state = State::PairValue;
            return Ok(Self::empty_scalar(next.end));
        }
        self.states.push(State::PairValue);
        self.node(Place::Flow)
    }

    pub(super) fn pair_value(&mut self) -> Scan<Event<'i>> {
        let next = self.peek()?;
        if next.kind == TokenKind::Value {
            self.take();
            let after = self.peek()?;
            if !matches!(
                after.kind,
                TokenKind::FlowEntry | TokenKind::FlowSequenceEnd
            ) {
                self.states.push(State::PairEnd);
                return self.node(Place::Flow);
            }
        }
        self.state = State::PairEnd;
        Ok(Self::empty_scalar(next.start))
    }

    pub(super) fn pair_end(&mut self) -> Scan<Event<'i>> {
        let next = self.peek()?;
        self.state = State::FlowSequenceEntry;
        Ok(Event::new(EventKind::MappingEnd, next.start, next.start))
    }

    pub(super) fn flow_mapping_key(&mut self, first: bool) -> Scan<Event<'i>> {
        if first {
            self.open()?;
        }
        let mut next = self.peek()?;
        if next.kind != TokenKind::FlowMappingEnd {
            if !first {
                if next.kind != TokenKind::FlowEntry {
                    return self.collection_error("did not find expected ',' or '}'", next.start);
                }
                self.take();
                next = self.peek()?;
            }
            if next.kind == TokenKind::Key {
                self.take();
                let after = self.peek()?;
                if matches!(
                    after.kind,
                    TokenKind::Value | TokenKind::FlowEntry | TokenKind::FlowMappingEnd
                ) {
                    self.state = State::FlowMappingValue;
                    return Ok(Self::empty_scalar(after.start));
                }
                self.states.push(State::FlowMappingValue);
                return self.node(Place::Flow);
            }
            if next.kind != TokenKind::FlowMappingEnd {
                self.states.push(State::FlowMappingEmptyValue);
                return self.node(Place::Flow);
            }
        }
        let mut event = self.close(EventKind::MappingEnd, next);
        self.give_comments(&mut event);
        self.take();
        Ok(event)
    }

    pub(super) fn flow_mapping_value(&mut self, empty: bool) -> Scan<Event<'i>> {
        let mut next = self.peek()?;
        if !empty && next.kind == TokenKind::Value {
            self.take();
            next = self.peek()?;
            if !matches!(next.kind, TokenKind::FlowEntry | TokenKind::FlowMappingEnd) {
                self.states.push(State::FlowMappingKey);
                return self.node(Place::Flow);
            }
        }
        self.state = State::FlowMappingKey;
        Ok(Self::empty_scalar(next.start))
    }
}
