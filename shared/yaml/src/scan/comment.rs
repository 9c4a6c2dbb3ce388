//! Scans comments and assigns them to tokens (go-yaml v3 only).

use super::{Scanner, TokenKind, break_width};
use crate::error::Mark;

/// How far go-yaml looks ahead for a comment, in bytes.
const LOOK_AHEAD: usize = 512;

/// A comment on its way from the scanner to the parser.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comment {
    /// Where the scan that found it began.
    pub(crate) scanned_from: Mark,
    /// The token that starts here or later takes the comment.
    pub(crate) token: Mark,
    pub(crate) start: Mark,
    pub(crate) end: Mark,
    pub(crate) head: String,
    pub(crate) line: String,
    pub(crate) foot: String,
}

impl Scanner<'_> {
    /// Scans a comment after a token on its line.
    pub(super) fn scan_line_comment(&mut self, token: Mark) {
        if self.newlines > 0 {
            return;
        }
        let Some(blanks) = (0..LOOK_AHEAD).find(|&ahead| !self.is_blank(ahead)) else {
            return;
        };
        if self.byte(blanks) != b'#' {
            return;
        }
        self.advance_run(blanks);
        let start = self.mark;
        let line = self.read_comment_line();
        self.comments.push_back(Comment {
            token,
            start,
            line,
            ..Comment::default()
        });
    }

    fn read_comment_line(&mut self) -> String {
        let from = self.mark.at();
        self.skip_to_break();
        self.text.get(from..self.mark.at()).unwrap_or("").to_owned()
    }

    /// A comment after the `-` that opens a sequence is moved above its first item, if the item follows on another line
    /// or none has been scanned yet.
    pub(super) fn hand_entry_comment_down(&mut self) {
        let opens_sequence = matches!(
            self.queue.recent(1),
            Some((TokenKind::BlockSequenceStart, _))
        ) && matches!(self.queue.recent(0), Some((TokenKind::BlockEntry, _)));
        if !opens_sequence || self.is_break(0) {
            return;
        }
        let here = self.mark;
        if let Some(comment) = self.comments.back_mut()
            && !comment.line.is_empty()
        {
            comment.head = std::mem::take(&mut comment.line);
            if comment.start.line + 1 == here.line {
                comment.token = here;
            }
        }
    }

    /// Where a block collection of the current indentation ends, given the comments after it with the same indentation.
    pub(super) fn end_before_comments(&self, end: Mark) -> Mark {
        let mut found = end;
        let mut stop = end.index;
        for comment in self.comments.iter().rev() {
            if comment.end.index < stop {
                break;
            }
            if i64::from(comment.start.column) == i64::from(self.indent) + 1 {
                found = comment.start;
            }
            stop = comment.scanned_from.index;
        }
        found
    }

    /// Scans the comments between two tokens, from the first `#` on, and splits them into those that close the
    /// preceding node and those that belong to the next one.
    pub(super) fn scan_comments(&mut self, scanned_from: Mark) {
        let mut previous = self.queue.recent(0);
        if matches!(previous, Some((TokenKind::FlowEntry, _))) && self.queue.buffered() > 1 {
            previous = self.queue.recent(1);
        }
        let (kind, token_start) = previous.unwrap_or((TokenKind::StreamStart, Mark::default()));
        let foot_line = if scanned_from.line > 0 {
            let extra = i64::from(self.newlines == 0 && self.mark.column > 1);
            i64::from(self.mark.line) - i64::from(self.newlines) + 1 + extra
        } else {
            -1
        };
        let mut run = CommentRun {
            from: scanned_from,
            token: token_start,
            start: Mark::default(),
            line: self.mark.line,
            column: self.mark.column,
            text: String::new(),
        };
        let mut after_empty = false;
        let mut first_gap = self.newlines <= 1;
        let next_indent = i64::from(self.indent.max(0));

        let mut ahead = 0;
        while ahead < LOOK_AHEAD {
            run.column += 1;
            if self.is_blank(ahead) {
                ahead += 1;
                continue;
            }
            let byte = self.byte(ahead);
            let closes_flow = self.flow_level > 0 && matches!(byte, b']' | b'}');
            if closes_flow || self.is_break_or_end(ahead) {
                if closes_flow || !after_empty {
                    let outside = i64::from(run.start.column) - 1 < next_indent;
                    let is_foot =
                        i64::from(run.start.line) == foot_line && kind != TokenKind::Value;
                    if closes_flow || first_gap && (is_foot || outside) {
                        if outside && !run.text.is_empty() {
                            run.token = run.start;
                        }
                        self.close_foot(&mut run, ahead);
                    } else if !run.text.is_empty() && byte != 0 {
                        run.text.push('\n');
                    }
                }
                if !self.is_break(ahead) {
                    break;
                }
                first_gap = false;
                after_empty = true;
                run.column = 0;
                run.line += 1;
                ahead += 1;
                continue;
            }
            let dedented =
                i64::from(run.column) - 1 < next_indent && run.column != run.start.column;
            if dedented {
                // Indented less than the collection, and than the comment so far: what was read closes the collection.
                self.close_foot(&mut run, ahead);
            }
            if byte != b'#' {
                break;
            }
            if run.text.is_empty() {
                run.start = self.ahead_mark(&run, ahead);
            } else {
                run.text.push('\n');
            }
            after_empty = false;
            self.advance_to(ahead);
            let line = self.read_comment_line();
            run.text.push_str(&line);
            run.column = 0;
            run.line = self.mark.line;
            // The line break that ends the comment is skipped.
            ahead = 1;
        }
        if !run.text.is_empty() {
            let mut end = self.ahead_mark(&run, ahead);
            end.index = end.index.saturating_sub(1);
            self.comments.push_back(Comment {
                scanned_from: run.from,
                token: run.start,
                start: run.start,
                end,
                head: run.text,
                ..Comment::default()
            });
        }
    }

    fn ahead_mark(&self, run: &CommentRun, ahead: usize) -> Mark {
        Mark {
            index: self.mark.index + ahead as u32,
            byte: self.mark.byte + ahead as u32,
            line: run.line,
            column: run.column,
        }
    }

    /// Turns what was read into a comment below the preceding token, and starts over.
    fn close_foot(&mut self, run: &mut CommentRun, ahead: usize) {
        if run.text.is_empty() {
            return;
        }
        let end = self.ahead_mark(run, ahead);
        self.comments.push_back(Comment {
            scanned_from: run.from,
            token: run.token,
            start: run.start,
            end,
            foot: std::mem::take(&mut run.text),
            ..Comment::default()
        });
        run.from = end;
        run.token = end;
    }

    /// Skips this many bytes of blanks and line breaks.
    fn advance_to(&mut self, ahead: usize) {
        let target = self.mark.index + ahead as u32;
        while self.mark.index < target {
            if break_width(self.text.as_bytes(), self.mark.at()) > 0 {
                self.advance_line();
            } else if self.is_end() {
                return;
            } else {
                self.advance();
            }
        }
    }
}

/// The comment lines read so far.
struct CommentRun {
    from: Mark,
    token: Mark,
    start: Mark,
    line: u32,
    column: u32,
    text: String,
}
