//! Writes comments above, next to and below nodes.

use super::Emitter;
use super::scalar::run_end;
use crate::scan::break_width;

impl Emitter<'_> {
    pub(super) fn process_head_comment(&mut self) {
        let tail = std::mem::take(&mut self.pending.tail);
        if !tail.is_empty() {
            self.write_indent();
            self.write_comment(tail);
            self.foot_indent = self.indent.max(0);
        }
        let head = std::mem::take(&mut self.pending.head);
        if !head.is_empty() {
            self.write_indent();
            self.write_comment(head);
        }
    }

    pub(super) fn process_line_comment(&mut self) {
        let line = std::mem::take(&mut self.pending.line);
        if !line.is_empty() {
            if !self.whitespace {
                self.put(' ');
            }
            self.write_comment(line);
        }
    }

    pub(super) fn process_foot_comment(&mut self) {
        let foot = std::mem::take(&mut self.pending.foot);
        if !foot.is_empty() {
            self.write_indent();
            self.write_comment(foot);
            self.foot_indent = self.indent.max(0);
        }
    }

    fn write_comment(&mut self, comment: &str) {
        let bytes = comment.as_bytes();
        let mut breaks = false;
        let mut pound = false;
        let mut at = 0;
        while at < bytes.len() {
            let width = break_width(bytes, at);
            if width > 0 {
                self.write_break(comment, at, width);
                at += width;
                breaks = true;
                pound = false;
                continue;
            }
            if breaks {
                self.write_indent();
            }
            if !pound {
                if bytes[at] != b'#' {
                    self.put('#');
                    self.put(' ');
                }
                pound = true;
            }
            let end = run_end(bytes, at, |_| false);
            self.put_run(comment.get(at..end).unwrap_or(""));
            at = end;
            self.indention = false;
            breaks = false;
        }
        if !breaks {
            self.put_break();
        }
        self.whitespace = true;
    }
}
