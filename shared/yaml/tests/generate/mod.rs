//! Random documents and values that are hard on YAML readers and writers.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// A small generator of random numbers, the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// Texts whose meaning or quoting is easy to get wrong.
pub(crate) const SCALARS: &[&str] = &[
    "",
    "a",
    "abc",
    "~",
    "null",
    "Null",
    "NULL",
    "nULL",
    "true",
    "True",
    "FALSE",
    "yes",
    "no",
    "on",
    "Off",
    "y",
    "N",
    "0",
    "1",
    "-1",
    "+1",
    "007",
    "0o7",
    "08",
    "0x1F",
    "0b11",
    "0b-1",
    "1_000",
    "_1",
    "1_",
    "1e3",
    "1.0",
    "1.",
    ".5",
    "-.5",
    "+.5",
    ".",
    "..",
    "1e400",
    "1e-400",
    "1E+2",
    "0x",
    "0b2",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "-9223372036854775809",
    ".inf",
    "-.INF",
    "+.inf",
    ".nan",
    ".NaN",
    "inf",
    "nan",
    "1:20",
    "12:30:45",
    "1:20.5",
    "190:20:30",
    "2001-01-01",
    "2001-1-1",
    "2001-01-01T00:00:00Z",
    "2001-02-30",
    "2001-01-01 1:2:3.5",
    "<<",
    "=",
    "---",
    "...",
    "--- a",
    "---a",
    "-",
    "- a",
    "-a",
    "?",
    "? a",
    "?a",
    ":",
    ": a",
    ":a",
    "a:",
    "a: b",
    "a:b",
    "a :b",
    "a#b",
    "a #b",
    "#a",
    "a,b",
    ",a",
    "[a]",
    "a]",
    "{a}",
    "}",
    "&a",
    "*a",
    "!a",
    "|",
    ">",
    "'a",
    "\"a",
    "%a",
    "@a",
    "`a",
    "a b",
    " a",
    "a ",
    "  ",
    "a  b",
    "\ta",
    "a\tb",
    "a\t",
    "\t",
    "it's",
    "say \"hi\"",
    "back\\slash",
    "{{ .Values.x }}",
    "${var}",
    "a\nb",
    "a\n",
    "a\nb\n",
    "\na",
    "\n",
    "\n\n",
    "a\n\n",
    "a\n\nb",
    "  a\nb",
    "a\n  b",
    "a \nb",
    "a\n b\n",
    "a\tb\nc",
    "#a\nb",
    "a\r\nb",
    "ü",
    "日本語",
    "😀",
    "a😀b",
    "\u{85}",
    "a\u{85}b",
    "\u{2028}",
    "a\u{2029}b",
    "\u{a0}",
    "\u{feff}",
    "a\u{feff}",
    "\u{7f}",
    "\u{1}",
    "\0",
    "\u{1b}",
    "\u{200b}",
    "e\u{301}",
    "\u{fffd}",
    "the quick brown fox jumps over the lazy dog and then some more words to pass the eightieth column of the line",
    "a-very-long-word-without-any-blank-in-it-that-goes-on-and-on-and-on-and-on-and-on-and-on-past-eighty-columns and more",
    "two  blanks  everywhere  in  a  long  line  that  goes  past  the  eightieth  column  of  the  line  at  last",
    "it's a long line with 'quotes' and: colons # and hashes, that goes on past the eightieth column, and further",
    "tab\tin a long line that goes on past the eightieth column of the line, and on and on and on and on and on",
    "long unicode line mit vielen Umläuten äöüß äöüß äöüß äöüß äöüß äöüß äöüß äöüß äöüß äöüß äöüß äöüß äöüß",
];

const KEYS: &[&str] = &[
    "a",
    "b",
    "c",
    "a1",
    "a2",
    "a10",
    "a01",
    "A",
    "Z",
    "_x",
    "x-y",
    "x.y",
    "x/y",
    "1",
    "true",
    "on",
    "y",
    "",
    "<<",
    "1.5",
    "key with blanks",
    "ü",
    "日本",
    "😀",
    "a: b",
    "#c",
    "-",
    "?",
    "name",
    "spec",
    "a key that is so long that it goes past the limit of one hundred and twenty-eight bytes that a simple key may have in the emitter",
];

const COMMENTS: &[&str] = &[
    "# one",
    "#two",
    "# {\"$imagepolicy\": \"a:b\"}",
    "#",
    "# ü 😀",
    "## x #y",
];

/// A value of JSON types.
pub(crate) fn value(r: &mut Random, depth: usize) -> Value {
    match r.below(if depth == 0 { 8 } else { 12 }) {
        0 => Value::Null,
        1 => json!(r.chance(50)),
        2 => json!(r.next() as i64 % 1000),
        3 => match r.below(6) {
            0 => json!(u64::MAX - r.next() % 3),
            1 => json!(i64::MIN),
            2 => json!(1e21),
            3 => json!((r.next() % 1_000_000) as f64 / 1000.0),
            4 => json!(r.next() as f64 * 1e7),
            _ => json!(f64::from_bits(r.next() << 11 ^ r.next()).clamp(-1e300, 1e300)),
        },
        4..8 => Value::String(text(r)),
        8 | 9 => Value::Array((0..r.below(4)).map(|_| value(r, depth - 1)).collect()),
        _ => {
            let mut map = Map::new();
            for _ in 0..r.below(5) {
                let key = if r.chance(80) {
                    r.pick(KEYS).to_owned()
                } else {
                    text(r)
                };
                map.insert(key, value(r, depth - 1));
            }
            Value::Object(map)
        }
    }
}

/// A string, hostile more often than not.
pub(crate) fn text(r: &mut Random) -> String {
    match r.below(10) {
        0..6 => r.pick(SCALARS).to_owned(),
        6..8 => {
            let separators = [" ", "", "\n", "  ", ": ", " #", "\t", ", "];
            let separator = r.pick(&separators);
            (0..=r.below(4))
                .map(|_| r.pick(SCALARS))
                .collect::<Vec<_>>()
                .join(separator)
        }
        8 => {
            let words = [
                "a",
                "word",
                "it's",
                "longer-word",
                "x",
                "colon:",
                "\"q\"",
                "é",
            ];
            let count = r.below(40);
            (0..count)
                .map(|_| r.pick(&words))
                .collect::<Vec<_>>()
                .join(" ")
        }
        _ => {
            let alphabet = [
                'a', 'b', ' ', '\n', ':', '#', '-', '\'', '"', '\\', '\t', 'é', '😀', ',', '?',
                '{', '1', '\r',
            ];
            let length = r.below(12);
            (0..length)
                .map(|_| alphabet[r.below(alphabet.len())])
                .collect()
        }
    }
}

/// A document in YAML, valid more often than not.
pub(crate) fn document(r: &mut Random) -> String {
    if r.chance(12) {
        return soup(r);
    }
    let mut writer = Writer {
        r,
        out: String::new(),
        anchors: 0,
    };
    if writer.r.chance(20) {
        writer.comment_lines(0);
    }
    if writer.r.chance(15) {
        writer.out.push_str("---\n");
    }
    let depth = 1 + writer.r.below(4);
    writer.block(0, depth);
    if writer.r.chance(20) {
        writer.comment_lines(0);
    }
    let mut out = writer.out;
    if r.chance(8) {
        out.push_str(r.pick(&[
            "---\n",
            "...\n",
            "--- # c\n",
            "---\na: b\n",
            "--- |\n  x\n",
            "...\n# end\n",
        ]));
    }
    if r.chance(10) {
        out = out.replace('\n', "\r\n");
    }
    if r.chance(10) {
        out.truncate(out.trim_end().len());
    }
    if r.chance(15) {
        mutate(r, &mut out);
    }
    out
}

/// Fragments in any order.
fn soup(r: &mut Random) -> String {
    let fragments = [
        "a",
        "b",
        ": ",
        ":",
        "- ",
        "-",
        "? ",
        "\n",
        "\n  ",
        "\n    ",
        "\n\n",
        "\t",
        " ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ",",
        "&x ",
        "*x",
        "!!str ",
        "!t ",
        "!",
        "|",
        ">",
        "|-\n  ",
        ">+\n ",
        "|2\n",
        "'",
        "\"",
        "'a'",
        "\"b\"",
        "# c",
        "#",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "%TAG !e! tag:e:\n",
        "<<",
        "<<: ",
        "1",
        "~",
        "\\",
        "\\n",
        "\r\n",
        "ü",
        "😀",
        "@",
        "`",
        "%",
    ];
    (0..=r.below(25)).map(|_| r.pick(&fragments)).collect()
}

fn mutate(r: &mut Random, text: &mut String) {
    for _ in 0..=r.below(3) {
        let mut at = r.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        match r.below(3) {
            0 => {
                let end = (at + 1..=text.len())
                    .find(|end| text.is_char_boundary(*end))
                    .unwrap_or(at);
                text.replace_range(at..end, "");
            }
            1 => {
                let inserted = r.pick(&[
                    " ", "\n", ":", "#", "-", "\t", "'", "\"", "[", "}", ",", "&", "*", "!", "|",
                    "  ", "\n\n", "# c\n",
                ]);
                text.insert_str(at, inserted);
            }
            _ => {
                let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
                let line = text[at..end].to_owned();
                text.insert_str(at, &line);
            }
        }
    }
}

struct Writer<'r> {
    r: &'r mut Random,
    out: String,
    anchors: usize,
}

impl Writer<'_> {
    fn indent(&mut self, columns: usize) {
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

    fn end_line(&mut self) {
        if self.r.chance(12) {
            self.out.push(' ');
            self.out.push_str(self.r.pick(COMMENTS));
        } else if self.r.chance(3) {
            self.out.push(' ');
        }
        self.out.push('\n');
        if self.r.chance(4) {
            self.out.push('\n');
        }
    }

    /// Anchors, tags and the like; true when an alias stands for the node.
    fn properties(&mut self) -> bool {
        if self.anchors > 0 && self.r.chance(7) {
            let name = self.r.below(self.anchors);
            let _ = write!(self.out, "*x{name} ");
            return true;
        }
        if self.r.chance(7) {
            let _ = write!(self.out, "&x{} ", self.anchors);
            self.anchors += 1;
        }
        if self.r.chance(2) {
            let tag = self.r.pick(&[
                "!!str ",
                "!!int ",
                "!!float ",
                "!!bool ",
                "!!null ",
                "!!binary ",
                "!mine ",
                "! ",
                "!<tag:x> ",
                "!!timestamp ",
                "!!set ",
            ]);
            self.out.push_str(tag);
        }
        false
    }

    /// A node in block style, beginning on a line of its own at this column.
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
                if self.r.chance(8) {
                    self.comment_lines(column);
                }
                self.indent(column);
            }
            continued = false;
            if self.r.chance(2) {
                self.out.push_str("? ");
                self.scalar(column + 2);
                self.indent(column);
                self.out.push_str(": ");
                self.scalar(column + 2);
                continue;
            }
            if self.r.chance(4) && self.anchors > 0 {
                let name = self.r.below(self.anchors);
                let form = match self.r.below(3) {
                    0 => format!("<<: [*x{name}]"),
                    1 => format!("<<: {{q: 1, a: *x{name}}}"),
                    _ => format!("<<: *x{name}"),
                };
                self.out.push_str(&form);
                self.end_line();
                continue;
            }
            let key = if self.r.chance(1) {
                "~"
            } else {
                self.r.pick(KEYS)
            };
            // Beside 1 and true, "1" and "true" would be other keys to YAML and the same to JSON.
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
            self.out.push(':');
            self.value(column, depth);
        }
    }

    fn sequence(&mut self, column: usize, depth: usize, mut continued: bool) {
        for _ in 0..=self.r.below(3) {
            if !continued {
                if self.r.chance(8) {
                    self.comment_lines(column);
                }
                self.indent(column);
            }
            continued = false;
            self.out.push('-');
            if depth == 0 || self.r.chance(50) {
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
                let deeper = column + 1 + self.r.below(4);
                self.block(deeper, depth - 1);
            }
        }
    }

    fn value(&mut self, column: usize, depth: usize) {
        if depth == 0 || self.r.chance(45) {
            self.out.push(' ');
            if self.properties() {
                self.end_line();
            } else {
                self.scalar(column + 2);
            }
            return;
        }
        if self.r.chance(15) {
            self.out.push(' ');
            self.properties();
            self.flow(depth);
            self.end_line();
            return;
        }
        if self.r.chance(6) {
            self.out.push(' ');
            self.properties();
        }
        self.end_line();
        if self.r.chance(5) {
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
                let key = self.r.pick(KEYS);
                let _ = if plain(key) {
                    write!(self.out, "{key}: ")
                } else {
                    write!(self.out, "{key:?}: ")
                };
            }
            if depth > 0 && self.r.chance(20) {
                self.flow(depth - 1);
            } else {
                let text = self.r.pick(SCALARS);
                if !plain(text) && self.r.chance(95) {
                    self.out
                        .push_str(&serde_json::to_string(text).unwrap_or_default());
                } else {
                    self.out.push_str(&text.replace('\n', " "));
                }
            }
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

    fn scalar(&mut self, column: usize) {
        let text = text(self.r);
        match self.r.below(12) {
            0 => {
                let _ = write!(self.out, "'{}'", text.replace('\'', "''"));
            }
            1 | 2 => {
                let json = serde_json::to_string(&text).unwrap_or_default();
                self.out.push_str(&json);
            }
            3 | 4 => {
                let header = self
                    .r
                    .pick(&["|", "|-", "|+", ">", ">-", ">+", "|2", ">2-", "|-2", "|1"]);
                self.out.push_str(header);
                if self.r.chance(10) {
                    self.out.push_str(" # c");
                }
                self.out.push('\n');
                for line in text.split('\n') {
                    let line = if self.r.chance(90) {
                        line.trim_start_matches('\t')
                    } else {
                        line
                    };
                    if !line.is_empty() || self.r.chance(50) {
                        self.indent(column);
                    }
                    self.out.push_str(line);
                    self.out.push('\n');
                }
                return;
            }
            5 if text.lines().all(plain) || self.r.chance(20) => {
                let mut first = true;
                for line in text.split('\n') {
                    if !first {
                        self.out.push('\n');
                        self.indent(column);
                    }
                    first = false;
                    self.out.push_str(line);
                }
            }
            _ => {
                let line = text.replace(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'], " ");
                if plain(&line) || self.r.chance(8) {
                    self.out.push_str(&line);
                } else {
                    self.out
                        .push_str(&serde_json::to_string(&line).unwrap_or_default());
                }
            }
        }
        self.end_line();
    }
}

/// Whether a text will do as a plain scalar, roughly.
fn plain(text: &str) -> bool {
    text.chars()
        .next()
        .is_some_and(|c| c.is_alphanumeric() || c == '.' || c == '+')
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.contains('\t')
        && !text.ends_with(':')
        && !text.ends_with(' ')
        && !text.chars().any(char::is_control)
}
