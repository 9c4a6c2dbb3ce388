//! Generates documents: collections, comments, anchors, and document separators.

use std::fmt::Write as _;

use super::Random;
use super::pools::{BAD_TAGS, COMMENTS, KEYS, SCALARS, TAGS};
use super::rates::Rates;
use super::scalar::plain;

pub(super) struct Writer<'r> {
    pub(super) r: &'r mut Random,
    pub(super) rates: Rates,
    pub(super) out: String,
    anchors: usize,
}

impl<'r> Writer<'r> {
    pub(super) fn new(r: &'r mut Random, rates: Rates) -> Self {
        Writer {
            r,
            rates,
            out: String::new(),
            anchors: 0,
        }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    pub(super) fn stream(&mut self) {
        self.document();
        let mut further = self.rates.further;
        while self.r.chance(further) {
            further /= 2;
            let marker = self.r.pick(&[
                "---\n",
                "---\n",
                "...\n",
                "--- # c\n",
                "---\n# c\n",
                "---\n\n# c\n\n",
                "---\na: b\n",
                "--- |\n  x\n",
                "--- >-\n x\n y\n---\n",
                "--- text\n---\n",
                "--- !mine\n",
                "--- &r\n",
                "...\n# end\n",
                "... # end\n---\n",
                "...\n%YAML 1.1\n---\n",
                "...\n%TAG !e! tag:e:\n---\n",
            ]);
            self.out.push_str(marker);
            if self.r.chance(80) {
                self.document();
            }
        }
    }

    fn document(&mut self) {
        if self.r.chance(1) {
            let directives = self.r.pick(&[
                "%YAML 1.1\n%YAML 1.1\n---\n",
                "%YAML 1.2\n---\n",
                "%OTHER x\n---\n",
                "%YAML 1.1\n",
            ]);
            self.out.push_str(directives);
        } else if self.r.chance(self.rates.further / 4) {
            let directives = self.r.pick(&[
                "%YAML 1.1\n---\n",
                "%YAML 1.1 # c\n---\n",
                "%TAG ! tag:own:\n---\n",
                "%TAG !e! tag:e,2000:\n---\n",
                "%TAG !! tag:other:\n---\n",
                "# c\n%YAML 1.1\n# d\n---\n",
                "%YAML 1.1\n%TAG !a! tag:a:\n---\n",
            ]);
            self.out.push_str(directives);
        }
        if self.r.chance(20) {
            self.comment_lines(0);
        }
        if self.r.chance(15) {
            self.out.push_str("---\n");
        }
        let depth = 1 + self.r.below(4);
        self.block(0, depth);
        if self.r.chance(20) {
            self.comment_lines(0);
        }
    }

    pub(super) fn indent(&mut self, columns: usize) {
        for _ in 0..columns {
            self.out.push(' ');
        }
    }

    fn comment_lines(&mut self, column: usize) {
        for _ in 0..=self.r.below(2) {
            if self.r.chance(25) {
                self.out.push('\n');
            }
            let column = if self.r.chance(15) {
                self.r.below(8)
            } else {
                column
            };
            self.indent(column);
            self.out.push_str(self.r.pick(COMMENTS));
            self.out.push('\n');
        }
        if self.r.chance(25) {
            self.out.push('\n');
        }
    }

    pub(super) fn end_line(&mut self) {
        if self.r.chance(self.rates.beside) {
            self.out
                .push_str(self.r.pick(&[" ", " ", " ", "   ", "\t"]));
            self.out.push_str(self.r.pick(COMMENTS));
        } else if self.r.chance(3) {
            self.out.push_str(self.r.pick(&[" ", " ", "\t"]));
        }
        self.out.push('\n');
        if self.r.chance(self.rates.blank) {
            self.out
                .push_str(self.r.pick(&["\n", "\n", "  \n", "\n\n"]));
        }
    }

    /// Anchors, tags and the like; returns true if an alias replaces the node.
    fn properties(&mut self) -> bool {
        if self.anchors > 0 && self.r.chance(self.rates.alias) {
            let name = self.r.below(self.anchors);
            let _ = write!(self.out, "*x{name} ");
            return true;
        }
        let tag_first = self.r.chance(30);
        if tag_first {
            self.tag();
        }
        if self.r.chance(self.rates.anchor) {
            // Sometimes a name is redefined.
            let name = if self.r.chance(10) {
                self.r.below(self.anchors + 1)
            } else {
                self.anchors
            };
            let _ = write!(self.out, "&x{name} ");
            self.anchors = self.anchors.max(name + 1);
        }
        if !tag_first {
            self.tag();
        }
        false
    }

    fn tag(&mut self) {
        if self.r.chance(self.rates.tag) {
            let tag = if self.r.chance(4) {
                self.r.pick(BAD_TAGS)
            } else {
                self.r.pick(TAGS)
            };
            self.out.push_str(tag);
        }
    }

    /// A node in block style, starting on its own line at this column.
    fn block(&mut self, column: usize, depth: usize) {
        match self.r.below(10) {
            0..6 => self.mapping(column, depth, false),
            6..9 => self.sequence(column, depth, false),
            _ => {
                self.indent(column);
                self.scalar(column);
            }
        }
    }

    fn mapping(&mut self, column: usize, depth: usize, mut continued: bool) {
        for _ in 0..=self.r.below(4) {
            if !continued {
                if self.r.chance(self.rates.above) {
                    self.comment_lines(column);
                }
                self.indent(column);
            }
            continued = false;
            if self.r.chance(self.rates.merge) && self.anchors > 0 {
                self.merge();
                continue;
            }
            if self.r.chance(self.rates.odd_key) && self.odd_key(column, depth) {
                continue;
            }
            let key = if self.r.chance(1) {
                "~"
            } else {
                self.r.pick(KEYS)
            };
            // Next to 1 and true, "1" and "true" would be different keys in YAML and the same in JSON.
            let style = match key {
                "1" | "1.5" | "true" | "null" | "~" => 0,
                _ if plain(key) || self.r.chance(10) => 8,
                _ => 2,
            };
            let quoted = match self.r.below(style.max(1)) {
                _ if style == 0 => key.to_owned(),
                0 => format!("{key:?}"),
                1 => format!("'{key}'"),
                _ => key.to_owned(),
            };
            self.out.push_str(&quoted);
            self.out
                .push_str(self.r.pick(&[":", ":", ":", ":", ":", " :"]));
            self.value(column, depth);
        }
    }

    fn merge(&mut self) {
        let first = self.r.below(self.anchors);
        let second = self.r.below(self.anchors);
        let form = match self.r.below(8) {
            0 => format!("<<: [*x{first}]"),
            1 => format!("<<: [*x{first}, *x{second}]"),
            2 => format!("<<: {{q: 1, a: *x{first}}}"),
            3 => format!("<<: [{{a: 1, b: 2}}, *x{first}]"),
            4 => format!("!!merge <<: *x{first}"),
            5 => format!("\"<<\": *x{first}"),
            _ => format!("<<: *x{first}"),
        };
        self.out.push_str(&form);
        self.end_line();
    }

    /// An entry with an unusual key. Returns false if there is only a key so far.
    fn odd_key(&mut self, column: usize, depth: usize) -> bool {
        match self.r.below(8) {
            0 if self.anchors > 0 => {
                let name = self.r.below(self.anchors);
                let _ = write!(self.out, "*x{name} :");
            }
            1 => {
                self.flow(1);
                self.out.push(':');
            }
            2 => {
                self.properties();
                self.out.push_str("k:");
            }
            3 => {
                // A key alone.
                self.out.push_str("? ");
                self.scalar(column + 2);
                return true;
            }
            4 => {
                self.out.push(':');
            }
            5 if depth > 0 => {
                self.out.push_str("? ");
                self.mapping(column + 2, depth - 1, true);
                self.indent(column);
                self.out.push_str(": ");
                self.sequence(column + 2, depth - 1, true);
                return true;
            }
            _ => {
                self.out.push_str("? ");
                self.scalar(column + 2);
                if self.r.chance(self.rates.above) {
                    self.comment_lines(column);
                }
                self.indent(column);
                self.out.push_str(": ");
                self.scalar(column + 2);
                return true;
            }
        }
        self.value(column, depth);
        true
    }

    fn sequence(&mut self, column: usize, depth: usize, mut continued: bool) {
        for _ in 0..=self.r.below(3) {
            if !continued {
                if self.r.chance(self.rates.above) {
                    self.comment_lines(column);
                }
                self.indent(column);
            }
            continued = false;
            self.out.push('-');
            if self.r.chance(self.rates.empty) {
                self.end_line();
            } else if depth == 0 || self.r.chance(50) {
                self.out.push(' ');
                if self.properties() {
                    self.end_line();
                } else {
                    self.scalar(column + 2);
                }
            } else if self.r.chance(70) {
                self.out.push(' ');
                if self.r.chance(70) {
                    self.mapping(column + 2, depth - 1, true);
                } else {
                    self.sequence(column + 2, depth - 1, true);
                }
            } else {
                self.end_line();
                if self.r.chance(self.rates.above) {
                    self.comment_lines(column + 2);
                }
                let deeper = column + 1 + self.r.below(4);
                self.block(deeper, depth - 1);
            }
        }
    }

    fn value(&mut self, column: usize, depth: usize) {
        if self.r.chance(self.rates.empty) {
            self.end_line();
            return;
        }
        if self.r.chance(self.rates.flow) {
            self.out.push(' ');
            self.properties();
            self.flow(depth);
            self.end_line();
            return;
        }
        if depth == 0 || self.r.chance(45) {
            self.out.push(' ');
            if self.properties() {
                self.end_line();
            } else {
                self.scalar(column + 2);
            }
            return;
        }
        if self.r.chance(6) {
            self.out.push(' ');
            self.properties();
        }
        self.end_line();
        if self.r.chance(self.rates.above) {
            self.comment_lines(column + 2);
        }
        if self.r.chance(35) {
            let deeper = column + 2 * self.r.below(2);
            self.sequence(deeper, depth - 1, false);
        } else {
            let deeper = column + 1 + self.r.below(4);
            self.block(deeper, depth - 1);
        }
    }

    fn flow(&mut self, depth: usize) {
        let (open, close) = if self.r.chance(50) {
            ('[', ']')
        } else {
            ('{', '}')
        };
        self.out.push(open);
        let count = self.r.below(4);
        for at in 0..count {
            if self.r.chance(10) {
                self.out.push_str("\n      ");
                if self.r.chance(40) {
                    self.out.push_str(self.r.pick(COMMENTS));
                    self.out.push_str("\n     ");
                }
            }
            if open == '{' || self.r.chance(8) {
                self.flow_key();
            }
            self.flow_item(depth);
            if at + 1 < count || self.r.chance(10) {
                self.out
                    .push_str(self.r.pick(&[", ", ",", " , ", ",\n     ", ", # c\n   "]));
            }
        }
        if self.r.chance(10) {
            self.out
                .push_str(self.r.pick(&["\n   ", " # c\n   ", "\n   # c\n   "]));
        }
        self.out.push(close);
    }

    fn flow_key(&mut self) {
        if self.r.chance(self.rates.odd_key) {
            let odd = self.r.pick(&[
                "? a : ",
                "? : ",
                "a : ",
                "[b]: ",
                "? {a: b} : ",
                ": ",
                "'q':",
            ]);
            self.out.push_str(odd);
            return;
        }
        let key = self.r.pick(KEYS);
        let _ = if plain(key) {
            write!(self.out, "{key}: ")
        } else {
            write!(self.out, "{key:?}: ")
        };
    }

    fn flow_item(&mut self, depth: usize) {
        if self.r.chance(self.rates.empty / 2) || self.properties() {
            return;
        }
        if depth > 0 && self.r.chance(20) {
            self.flow(depth - 1);
            return;
        }
        let text = self.r.pick(SCALARS);
        if !plain(text) && self.r.chance(95) {
            self.out
                .push_str(&serde_json::to_string(text).unwrap_or_default());
        } else {
            self.out.push_str(&text.replace('\n', " "));
        }
    }
}
