//! Determines the next token: indentation, implicit keys and indicators.

use super::{MAX_DEPTH, Scan, Scanner, SimpleKey, Token, TokenData, TokenKind, break_width};
use crate::error::Mark;
use crate::resolve::Flavor;

impl Scanner<'_> {
    /// Scans until the head of the queue is certain to be a token by itself, not the first of an implicit key.
    pub(super) fn fetch_more(&mut self) -> Scan<()> {
        // v3 looks further ahead, so that the comments after a token are known when it is parsed.
        let wanted = match self.flavor {
            Flavor::V2 => 1,
            Flavor::V3 => 3,
        };
        loop {
            if self.scanned_all || self.queue.waiting() >= wanted {
                let undecided = self.head_may_begin_key()?;
                if self.scanned_all || !undecided {
                    break;
                }
            }
            self.fetch_next()?;
        }
        self.ready = true;
        Ok(())
    }

    fn head_may_begin_key(&mut self) -> Scan<bool> {
        let head = self.queue.taken;
        while self.keyed_tokens.front().is_some_and(|(n, _)| *n < head) {
            self.keyed_tokens.pop_front();
        }
        match self.keyed_tokens.front() {
            Some(&(number, key)) if number == head => self.key_is_valid(key),
            _ => Ok(false),
        }
    }

    fn fetch_next(&mut self) -> Scan<()> {
        if !self.started {
            self.start();
            return Ok(());
        }
        let scanned_from = self.mark;
        self.scan_to_next_token()?;
        self.unroll_indent(self.mark.column as i32, scanned_from);
        // Enough for `--- `.
        self.want(4);
        if self.is_end() {
            return self.fetch_stream_end();
        }
        if self.mark.column == 0 {
            if self.byte(0) == b'%' {
                return self.fetch_directive();
            }
            if self.document_marker(b'-') {
                return self.fetch_document_marker(TokenKind::DocumentStart);
            }
            if self.document_marker(b'.') {
                return self.fetch_document_marker(TokenKind::DocumentEnd);
            }
        }
        let mut comment_mark = self.mark;
        let byte = self.byte(0);
        let closes_previous =
            (self.flow_level == 0 && byte == b':') || (self.flow_level > 0 && byte == b',');
        if closes_previous && let Some((_, start)) = self.queue.recent(0) {
            comment_mark = start;
        }
        self.fetch_by_indicator(byte)?;
        let after_entry = matches!(self.queue.recent(0), Some((TokenKind::BlockEntry, _)));
        if self.flavor == Flavor::V3 && !after_entry {
            self.scan_line_comment(comment_mark);
        }
        Ok(())
    }

    /// Whether `---` or `...` is here, followed by a blank.
    pub(super) fn document_marker(&self, byte: u8) -> bool {
        self.byte(0) == byte
            && self.byte(1) == byte
            && self.byte(2) == byte
            && self.is_blank_or_end(3)
    }

    fn fetch_by_indicator(&mut self, byte: u8) -> Scan<()> {
        let block = self.flow_level == 0;
        match byte {
            b'[' => self.fetch_flow_start(TokenKind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(TokenKind::FlowMappingStart),
            b']' => self.fetch_flow_end(TokenKind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(TokenKind::FlowMappingEnd),
            b',' => self.fetch_flow_entry(),
            b'-' if self.is_blank_or_end(1) => self.fetch_block_entry(),
            b'?' if !block || self.is_blank_or_end(1) => self.fetch_key(),
            b':' if !block || self.is_blank_or_end(1) => self.fetch_value(),
            b'*' | b'&' => {
                self.save_key()?;
                self.key_allowed = false;
                let token = self.scan_anchor(byte == b'*')?;
                self.queue.insert(None, token);
                Ok(())
            }
            b'!' => {
                self.save_key()?;
                self.key_allowed = false;
                let token = self.scan_tag()?;
                self.queue.insert(None, token);
                Ok(())
            }
            b'|' | b'>' if block => {
                self.remove_key()?;
                self.key_allowed = true;
                let token = self.scan_block_scalar(byte == b'|')?;
                self.queue.insert(None, token);
                Ok(())
            }
            b'\'' | b'"' => {
                self.save_key()?;
                self.key_allowed = false;
                let token = self.scan_quoted_scalar(byte == b'\'')?;
                self.queue.insert(None, token);
                Ok(())
            }
            // The remaining ones of these cannot start a scalar.
            b'#' | b'|' | b'>' | b'%' | b'@' | b'`' | b'\t' => self.no_token(),
            _ => {
                self.save_key()?;
                self.key_allowed = false;
                let token = self.scan_plain_scalar()?;
                self.queue.insert(None, token);
                Ok(())
            }
        }
    }

    fn no_token(&self) -> Scan<()> {
        self.error(self.mark, "found character that cannot start any token")
    }

    fn start(&mut self) {
        self.started = true;
        self.indent = -1;
        self.keys.push(SimpleKey::default());
        self.key_allowed = true;
        self.push_here(TokenKind::StreamStart);
    }

    fn push_here(&mut self, kind: TokenKind) {
        self.queue.insert(
            None,
            Token {
                kind,
                data: TokenData::None,
                start: self.mark,
                end: self.mark,
            },
        );
    }

    /// Queues an indicator of this many characters.
    fn push_indicator(&mut self, kind: TokenKind, length: usize) {
        let start = self.mark;
        for _ in 0..length {
            self.advance();
        }
        self.queue.insert(
            None,
            Token {
                kind,
                data: TokenData::None,
                start,
                end: self.mark,
            },
        );
    }

    fn fetch_stream_end(&mut self) -> Scan<()> {
        if self.mark.column != 0 {
            self.mark.column = 0;
            self.mark.line += 1;
        }
        self.unroll_indent(-1, self.mark);
        self.remove_key()?;
        self.key_allowed = false;
        self.push_here(TokenKind::StreamEnd);
        self.scanned_all = true;
        Ok(())
    }

    fn fetch_directive(&mut self) -> Scan<()> {
        self.unroll_indent(-1, self.mark);
        self.remove_key()?;
        self.key_allowed = false;
        let token = self.scan_directive()?;
        self.queue.insert(None, token);
        Ok(())
    }

    fn fetch_document_marker(&mut self, kind: TokenKind) -> Scan<()> {
        self.unroll_indent(-1, self.mark);
        self.remove_key()?;
        self.key_allowed = false;
        self.push_indicator(kind, 3);
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: TokenKind) -> Scan<()> {
        self.save_key()?;
        self.keys.push(SimpleKey {
            possible: false,
            required: false,
            token_number: self.next_token_number(),
            mark: self.mark,
        });
        self.flow_level += 1;
        if self.flow_level > MAX_DEPTH {
            return self.error(self.mark, format!("exceeded max depth of {MAX_DEPTH}"));
        }
        self.key_allowed = true;
        self.push_indicator(kind, 1);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: TokenKind) -> Scan<()> {
        self.remove_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            if let Some(key) = self.keys.pop() {
                self.forget_keyed(key.token_number);
            }
        }
        self.key_allowed = false;
        self.push_indicator(kind, 1);
        Ok(())
    }

    fn fetch_flow_entry(&mut self) -> Scan<()> {
        self.remove_key()?;
        self.key_allowed = true;
        self.push_indicator(TokenKind::FlowEntry, 1);
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Scan<()> {
        if self.flow_level == 0 {
            if !self.key_allowed {
                return self.error(
                    self.mark,
                    "block sequence entries are not allowed in this context",
                );
            }
            self.roll_indent(self.mark, None, TokenKind::BlockSequenceStart)?;
        }
        self.remove_key()?;
        self.key_allowed = true;
        self.push_indicator(TokenKind::BlockEntry, 1);
        Ok(())
    }

    fn fetch_key(&mut self) -> Scan<()> {
        if self.flow_level == 0 {
            if !self.key_allowed {
                return self.error(self.mark, "mapping keys are not allowed in this context");
            }
            self.roll_indent(self.mark, None, TokenKind::BlockMappingStart)?;
        }
        self.remove_key()?;
        self.key_allowed = self.flow_level == 0;
        self.push_indicator(TokenKind::Key, 1);
        Ok(())
    }

    fn fetch_value(&mut self) -> Scan<()> {
        let last = self.keys.len().saturating_sub(1);
        if self.key_is_valid(last)? {
            let key = self.keys.get(last).copied().unwrap_or_default();
            let token = Token {
                kind: TokenKind::Key,
                data: TokenData::None,
                start: key.mark,
                end: key.mark,
            };
            self.queue.insert(Some(key.token_number), token);
            self.roll_indent(
                key.mark,
                Some(key.token_number),
                TokenKind::BlockMappingStart,
            )?;
            if let Some(key) = self.keys.get_mut(last) {
                key.possible = false;
            }
            self.forget_keyed(key.token_number);
            self.key_allowed = false;
        } else {
            if self.flow_level == 0 {
                if !self.key_allowed {
                    return self.error(self.mark, "mapping values are not allowed in this context");
                }
                self.roll_indent(self.mark, None, TokenKind::BlockMappingStart)?;
            }
            self.key_allowed = self.flow_level == 0;
        }
        self.push_indicator(TokenKind::Value, 1);
        Ok(())
    }

    fn next_token_number(&self) -> usize {
        self.queue.taken + self.queue.waiting()
    }

    /// Whether this key can still be one: it must end on its line and within 1,024 characters.
    fn key_is_valid(&mut self, at: usize) -> Scan<bool> {
        let mark = self.mark;
        let Some(key) = self.keys.get_mut(at) else {
            return Ok(false);
        };
        if !key.possible {
            return Ok(false);
        }
        if key.mark.line < mark.line || key.mark.index + 1024 < mark.index {
            if key.required {
                let from = key.mark;
                return self.error(from, "could not find expected ':'");
            }
            key.possible = false;
            return Ok(false);
        }
        Ok(true)
    }

    /// Records that an implicit key may start here.
    fn save_key(&mut self) -> Scan<()> {
        if !self.key_allowed {
            return Ok(());
        }
        let key = SimpleKey {
            possible: true,
            required: self.flow_level == 0 && self.indent == self.mark.column as i32,
            token_number: self.next_token_number(),
            mark: self.mark,
        };
        self.remove_key()?;
        let at = self.keys.len().saturating_sub(1);
        if let Some(slot) = self.keys.get_mut(at) {
            *slot = key;
        }
        self.forget_keyed(key.token_number);
        self.keyed_tokens.push_back((key.token_number, at));
        Ok(())
    }

    /// Discards the candidate key of this level, which is an error if a key is required.
    fn remove_key(&mut self) -> Scan<()> {
        let Some(key) = self.keys.last_mut() else {
            return Ok(());
        };
        if !key.possible {
            return Ok(());
        }
        let (required, mark, number) = (key.required, key.mark, key.token_number);
        if required {
            return self.error(mark, "could not find expected ':'");
        }
        key.possible = false;
        self.forget_keyed(number);
        Ok(())
    }

    fn forget_keyed(&mut self, number: usize) {
        if let Some(at) = self.keyed_tokens.iter().rposition(|(n, _)| *n == number) {
            self.keyed_tokens.remove(at);
        }
    }

    /// Opens a block collection if this position is indented further than the current one.
    fn roll_indent(&mut self, mark: Mark, number: Option<usize>, kind: TokenKind) -> Scan<()> {
        let column = mark.column as i32;
        if self.flow_level > 0 || self.indent >= column {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column;
        if self.indents.len() > MAX_DEPTH {
            let from = self.keys.last().map_or(mark, |key| key.mark);
            return self.error(from, format!("exceeded max depth of {MAX_DEPTH}"));
        }
        let token = Token {
            kind,
            data: TokenData::None,
            start: mark,
            end: mark,
        };
        self.queue.insert(number, token);
        Ok(())
    }

    /// Closes the block collections that are indented further than this column.
    fn unroll_indent(&mut self, column: i32, scanned_from: Mark) {
        if self.flow_level > 0 {
            return;
        }
        let mut end = self.mark;
        if self.flavor == Flavor::V3 {
            end = scanned_from;
            end.index = end.index.saturating_sub(1);
        }
        while self.indent > column {
            if self.flavor == Flavor::V3 {
                end = self.end_before_comments(end);
            }
            self.queue.insert(
                None,
                Token {
                    kind: TokenKind::BlockEnd,
                    data: TokenData::None,
                    start: end,
                    end,
                },
            );
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    /// Skips blanks, comments and line breaks.
    fn scan_to_next_token(&mut self) -> Scan<()> {
        let scanned_from = self.mark;
        loop {
            if self.mark.at() == 0 && self.text.starts_with('\u{FEFF}') {
                self.advance();
            }
            self.skip_spaces();
            while (self.flow_level > 0 || !self.key_allowed) && self.byte(0) == b'\t' {
                self.advance();
                self.skip_spaces();
            }
            if self.flavor == Flavor::V3 {
                self.hand_entry_comment_down();
                if self.byte(0) == b'#' {
                    self.scan_comments(scanned_from);
                }
            } else if self.byte(0) == b'#' {
                self.skip_to_break();
            }
            if !self.is_break(0) {
                return Ok(());
            }
            self.advance_line();
            if self.flow_level == 0 {
                self.key_allowed = true;
            }
        }
    }

    /// Skips the rest of the line.
    pub(super) fn skip_to_break(&mut self) {
        let rest = self.rest();
        let line = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let (line, _) = rest.split_at(line);
        // Fast path: other breaks are rare.
        let mut others = memchr::memchr3_iter(b'\r', 0xC2, 0xE2, line);
        let other = others.find(|at| break_width(rest, *at) > 0);
        self.advance_run(other.unwrap_or(line.len()));
    }
}
