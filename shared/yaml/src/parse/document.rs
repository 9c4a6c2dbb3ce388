//! Streams and documents: directives, markers, and the comments around a document's root.

use super::{Event, EventKind, Parser, Place, State};
use crate::error::Mark;
use crate::node::Comments;
use crate::scan::{Scan, TokenData, TokenKind};

impl<'i> Parser<'i> {
    pub(super) fn stream_start(&mut self) -> Scan<Event<'i>> {
        let next = self.peek()?;
        self.state = State::ImplicitDocumentStart;
        self.take();
        Ok(Event::new(EventKind::StreamStart, next.start, next.end))
    }

    pub(super) fn document_start(&mut self, implicit: bool) -> Scan<Event<'i>> {
        let mut next = self.peek()?;
        if !implicit {
            while next.kind == TokenKind::DocumentEnd {
                self.take();
                next = self.peek()?;
            }
        }
        if next.kind == TokenKind::StreamEnd {
            self.state = State::End;
            self.take();
            return Ok(Event::new(EventKind::StreamEnd, next.start, next.end));
        }
        let explicit = matches!(
            next.kind,
            TokenKind::VersionDirective | TokenKind::TagDirective | TokenKind::DocumentStart
        );
        self.states.push(State::DocumentEnd);
        if implicit && !explicit {
            self.directives()?;
            self.state = State::BlockNode;
            let mut event = Event::new(EventKind::DocumentStart, next.start, next.end);
            let head = self.take_document_head();
            if !head.is_empty() {
                event.comments = Some(Box::new(Comments {
                    head,
                    ..Comments::default()
                }));
            }
            return Ok(event);
        }
        self.directives()?;
        let marker = self.peek()?;
        if marker.kind != TokenKind::DocumentStart {
            return Self::error("did not find expected <document start>", marker.start);
        }
        self.state = State::DocumentContent;
        self.take();
        Ok(Event::new(EventKind::DocumentStart, next.start, marker.end))
    }

    /// The comments before the first node that an empty line separates from it belong to the document.
    fn take_document_head(&mut self) -> String {
        let head = &mut self.comments.head;
        let bytes = head.as_bytes();
        let last = bytes.len().wrapping_sub(1);
        let found = (1..bytes.len())
            .rev()
            .find(|&i| bytes[i] == b'\n' && (i == last || bytes[i - 1] == b'\n'));
        let Some(at) = found else {
            return String::new();
        };
        let rest = head.split_off(at + 1);
        let mut document = std::mem::replace(head, rest);
        document.truncate(if at == last { at } else { at - 1 });
        document
    }

    pub(super) fn document_content(&mut self) -> Scan<Event<'i>> {
        let next = self.peek()?;
        match next.kind {
            TokenKind::VersionDirective
            | TokenKind::TagDirective
            | TokenKind::DocumentStart
            | TokenKind::DocumentEnd
            | TokenKind::StreamEnd => {
                self.pop_state();
                Ok(Self::empty_scalar(next.start))
            }
            _ => self.node(Place::Block),
        }
    }

    pub(super) fn document_end(&mut self) -> Scan<Event<'i>> {
        let next = self.peek()?;
        let mut end = next.start;
        if next.kind == TokenKind::DocumentEnd {
            end = next.end;
            self.take();
        }
        self.tag_directives.clear();
        self.state = State::DocumentStart;
        let mut event = Event::new(EventKind::DocumentEnd, next.start, end);
        self.give_comments(&mut event);
        if let Some(comments) = &mut event.comments
            && comments.foot.is_empty()
        {
            comments.foot = std::mem::take(&mut comments.head);
        }
        Ok(event)
    }

    fn directives(&mut self) -> Scan<()> {
        let mut version_seen = false;
        loop {
            let next = self.peek()?;
            match next.kind {
                TokenKind::VersionDirective => {
                    if version_seen {
                        return Self::error("found duplicate %YAML directive", next.start);
                    }
                    version_seen = true;
                    if self.take().map(|t| t.data) != Some(TokenData::Version(1, 1)) {
                        return Self::error("found incompatible YAML document", next.start);
                    }
                }
                TokenKind::TagDirective => {
                    let Some(TokenData::Pair(pair)) = self.take().map(|t| t.data) else {
                        continue;
                    };
                    let (handle, prefix) = *pair;
                    if self
                        .tag_directives
                        .iter()
                        .any(|(known, _)| *known == handle)
                    {
                        return Self::error("found duplicate %TAG directive", next.start);
                    }
                    self.tag_directives.push((handle, prefix));
                }
                _ => break,
            }
        }
        for (handle, prefix) in [("!", "!"), ("!!", "tag:yaml.org,2002:")] {
            if !self.tag_directives.iter().any(|(known, _)| known == handle) {
                self.tag_directives
                    .push((handle.to_owned(), prefix.to_owned()));
            }
        }
        Ok(())
    }

    pub(super) fn resolve_tag(
        &self,
        data: TokenData<'i>,
        start: Mark,
        at: Mark,
    ) -> Scan<Option<String>> {
        let TokenData::Pair(pair) = data else {
            return Ok(None);
        };
        let (handle, suffix) = *pair;
        if handle.is_empty() {
            return Ok(Some(suffix));
        }
        match self
            .tag_directives
            .iter()
            .find(|(known, _)| *known == handle)
        {
            Some((_, prefix)) => Ok(Some(format!("{prefix}{suffix}"))),
            None => Self::error_since(start, "found undefined tag handle", at),
        }
    }
}
