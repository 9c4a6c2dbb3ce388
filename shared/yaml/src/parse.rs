//! The parser: converts tokens to events, with the comments of each event.

mod block;
mod document;
mod flow;

use std::borrow::Cow;

use crate::error::{Fault, Layer, Mark};
use crate::node::Comments;
use crate::resolve::Flavor;
use crate::scan::{ScalarStyle, Scan, Scanner, Token, TokenData, TokenKind, fault};

/// The kind of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EventKind<'i> {
    StreamStart,
    StreamEnd,
    DocumentStart,
    DocumentEnd,
    Alias(&'i str),
    Scalar(Cow<'i, str>, ScalarStyle),
    SequenceStart { flow: bool },
    SequenceEnd,
    MappingStart { flow: bool },
    MappingEnd,
}

/// An event: one step of a document.
#[derive(Clone, Debug)]
pub(crate) struct Event<'i> {
    pub(crate) kind: EventKind<'i>,
    pub(crate) start: Mark,
    pub(crate) end: Mark,
    /// Start of the node itself, after its anchor and tag.
    pub(crate) content: Mark,
    /// Anchor and tag; most nodes have none.
    pub(crate) properties: Option<Box<Properties<'i>>>,
    pub(crate) comments: Option<Box<Comments>>,
}

/// What precedes a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Properties<'i> {
    pub(crate) anchor: Option<&'i str>,
    /// The tag with its handle resolved, in long form.
    pub(crate) tag: Option<String>,
}

impl<'i> Event<'i> {
    fn new(kind: EventKind<'i>, start: Mark, end: Mark) -> Self {
        Event {
            kind,
            start,
            end,
            content: start,
            properties: None,
            comments: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    StreamStart,
    ImplicitDocumentStart,
    DocumentStart,
    DocumentContent,
    DocumentEnd,
    BlockNode,
    SequenceFirst,
    SequenceEntry,
    IndentlessEntry,
    MappingFirst,
    MappingKey,
    MappingValue,
    FlowSequenceFirst,
    FlowSequenceEntry,
    PairKey,
    PairValue,
    PairEnd,
    FlowMappingFirst,
    FlowMappingKey,
    FlowMappingValue,
    FlowMappingEmptyValue,
    End,
}

/// The position of a node, which decides what may start it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Block,
    BlockOrIndentlessSequence,
    Flow,
}

/// Parses text into events.
pub(crate) struct Parser<'i> {
    scanner: Scanner<'i>,
    flavor: Flavor,
    state: State,
    states: Vec<State>,
    /// Starts of the open collections.
    marks: Vec<Mark>,
    tag_directives: Vec<(String, String)>,
    comments: Comments,
    /// Comments above a `-` whose item is a collection: they belong to the collection.
    stem: Option<String>,
    /// An error that go-yaml ignores until the event is complete, unless another error precedes it.
    passed_over: Option<Fault>,
}

/// The next token.
#[derive(Clone, Copy)]
struct Next {
    kind: TokenKind,
    start: Mark,
    end: Mark,
}

impl<'i> Parser<'i> {
    pub(crate) fn new(text: &'i str, flavor: Flavor) -> Self {
        Parser {
            scanner: Scanner::new(text, flavor),
            flavor,
            state: State::StreamStart,
            states: Vec::new(),
            marks: Vec::new(),
            tag_directives: Vec::new(),
            comments: Comments::default(),
            stem: None,
            passed_over: None,
        }
    }

    /// Whether reading has reached the end of the text.
    pub(crate) fn touched_end(&self) -> bool {
        self.scanner.touched_end()
    }

    /// The next event.
    pub(crate) fn next_event(&mut self) -> Scan<Event<'i>> {
        if self.state == State::End || self.scanner.ended() {
            return Ok(Event::new(
                EventKind::StreamEnd,
                Mark::default(),
                Mark::default(),
            ));
        }
        let event = match self.state {
            State::StreamStart => self.stream_start(),
            State::ImplicitDocumentStart => self.document_start(true),
            State::DocumentStart | State::End => self.document_start(false),
            State::DocumentContent => self.document_content(),
            State::DocumentEnd => self.document_end(),
            State::BlockNode => self.node(Place::Block),
            State::SequenceFirst => self.sequence_entry(true),
            State::SequenceEntry => self.sequence_entry(false),
            State::IndentlessEntry => self.indentless_entry(),
            State::MappingFirst => self.mapping_key(true),
            State::MappingKey => self.mapping_key(false),
            State::MappingValue => self.mapping_value(),
            State::FlowSequenceFirst => self.flow_sequence_entry(true),
            State::FlowSequenceEntry => self.flow_sequence_entry(false),
            State::PairKey => self.pair_key(),
            State::PairValue => self.pair_value(),
            State::PairEnd => self.pair_end(),
            State::FlowMappingFirst => self.flow_mapping_key(true),
            State::FlowMappingKey => self.flow_mapping_key(false),
            State::FlowMappingValue => self.flow_mapping_value(false),
            State::FlowMappingEmptyValue => self.flow_mapping_value(true),
        }?;
        match self.passed_over.take() {
            Some(fault) => Err(fault),
            None => Ok(event),
        }
    }

    fn peek(&mut self) -> Scan<Next> {
        let token = self.scanner.peek()?;
        let next = Next {
            kind: token.kind,
            start: token.start,
            end: token.end,
        };
        if self.flavor == Flavor::V3 {
            self.claim_comments(next);
        }
        Ok(next)
    }

    /// Collects the comments that belong to this token or to the preceding one.
    fn claim_comments(&mut self, next: Next) {
        while let Some(comment) = self.scanner.comments.front() {
            if next.start.index < comment.token.index {
                break;
            }
            if !comment.head.is_empty() && next.kind == TokenKind::BlockEnd {
                // It precedes what follows the collection.
                break;
            }
            add_lines(&mut self.comments.head, &comment.head);
            add_lines(&mut self.comments.foot, &comment.foot);
            add_lines(&mut self.comments.line, &comment.line);
            self.scanner.comments.pop_front();
        }
    }

    fn take(&mut self) -> Option<Token<'i>> {
        self.scanner.take_token()
    }

    fn give_comments(&mut self, event: &mut Event<'i>) {
        self.stem = None;
        if !self.comments.is_empty() {
            event.comments = Some(Box::new(std::mem::take(&mut self.comments)));
        }
    }

    fn give_stem(&mut self, event: &mut Event<'i>) {
        if let Some(head) = self.stem.take() {
            event.comments = Some(Box::new(Comments {
                head,
                ..Comments::default()
            }));
        }
    }

    fn pop_state(&mut self) {
        self.state = self.states.pop().unwrap_or(State::End);
    }

    fn error<T>(problem: &'static str, at: Mark) -> Scan<T> {
        Err(fault(Layer::Parser, problem, Mark::default(), at))
    }

    fn error_since<T>(context: Mark, problem: &'static str, at: Mark) -> Scan<T> {
        Err(fault(Layer::Parser, problem, context, at))
    }

    fn collection_error<T>(&mut self, problem: &'static str, at: Mark) -> Scan<T> {
        let context = self.marks.pop().unwrap_or_default();
        Self::error_since(context, problem, at)
    }

    fn empty_scalar(at: Mark) -> Event<'i> {
        Event::new(
            EventKind::Scalar(Cow::Borrowed(""), ScalarStyle::Plain),
            at,
            at,
        )
    }

    fn node(&mut self, place: Place) -> Scan<Event<'i>> {
        let mut next = self.peek()?;
        if next.kind == TokenKind::Alias {
            self.pop_state();
            let mut event = Event::new(EventKind::Alias(""), next.start, next.end);
            self.give_comments(&mut event);
            if let Some(TokenData::Name(name)) = self.take().map(|t| t.data) {
                event.kind = EventKind::Alias(name);
            }
            return Ok(event);
        }
        let start = next.start;
        let mut end = next.start;
        let mut anchor = None;
        let mut tag_token = None;
        loop {
            match next.kind {
                TokenKind::Anchor if anchor.is_none() => {
                    if let Some(TokenData::Name(name)) = self.take().map(|t| t.data) {
                        anchor = Some(name);
                    }
                }
                TokenKind::Tag if tag_token.is_none() => {
                    tag_token = self.take().map(|t| (t.data, t.start));
                }
                _ => break,
            }
            end = next.end;
            next = self.peek()?;
        }
        let tag = match tag_token {
            Some((data, at)) => self.resolve_tag(data, start, at)?,
            None => None,
        };
        let tag = tag.filter(|tag| !tag.is_empty());
        let mut event = Event::new(EventKind::StreamEnd, start, next.end);
        event.content = next.start;
        if anchor.is_some() || tag.is_some() {
            event.properties = Some(Box::new(Properties { anchor, tag }));
        }

        let block = place != Place::Flow;
        match next.kind {
            TokenKind::BlockEntry if place == Place::BlockOrIndentlessSequence => {
                self.state = State::IndentlessEntry;
                event.kind = EventKind::SequenceStart { flow: false };
            }
            TokenKind::Scalar => {
                self.pop_state();
                self.give_comments(&mut event);
                if let Some(TokenData::Scalar(value, style)) = self.take().map(|t| t.data) {
                    event.kind = EventKind::Scalar(value, style);
                }
            }
            TokenKind::FlowSequenceStart => {
                self.state = State::FlowSequenceFirst;
                event.kind = EventKind::SequenceStart { flow: true };
                self.give_comments(&mut event);
            }
            TokenKind::FlowMappingStart => {
                self.state = State::FlowMappingFirst;
                event.kind = EventKind::MappingStart { flow: true };
                self.give_comments(&mut event);
            }
            TokenKind::BlockSequenceStart if block => {
                self.state = State::SequenceFirst;
                event.kind = EventKind::SequenceStart { flow: false };
                self.give_stem(&mut event);
            }
            TokenKind::BlockMappingStart if block => {
                self.state = State::MappingFirst;
                event.kind = EventKind::MappingStart { flow: false };
                self.give_stem(&mut event);
            }
            _ if event.properties.is_some() => {
                self.pop_state();
                event.end = end;
                event.content = end;
                event.kind = EventKind::Scalar(Cow::Borrowed(""), ScalarStyle::Plain);
            }
            _ => {
                return Self::error_since(start, "did not find expected node content", next.start);
            }
        }
        Ok(event)
    }

    /// Records where a collection begins, at its first entry.
    fn open(&mut self) -> Scan<()> {
        let next = self.peek()?;
        self.marks.push(next.start);
        self.take();
        Ok(())
    }

    fn close(&mut self, kind: EventKind<'i>, next: Next) -> Event<'i> {
        self.pop_state();
        self.marks.pop();
        Event::new(kind, next.start, next.end)
    }
}

fn add_lines(to: &mut String, more: &str) {
    if more.is_empty() {
        return;
    }
    if !to.is_empty() {
        to.push('\n');
    }
    to.push_str(more);
}
