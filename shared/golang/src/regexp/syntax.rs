//! RE2 syntax: checked as in Go, and translated to the syntax of the `regex` crate.

use super::Error;

/// Go's limit on counted repetition, where nested counts are multiplied.
const MAX_REPEAT: u32 = 1000;
/// Go's limit on nesting, which is lower than that of the `regex` crate.
const MAX_NESTING: usize = 200;

/// The translated expression without group names, and those names by index.
pub(super) struct Translated {
    pub(super) pattern: String,
    pub(super) names: Vec<String>,
}

type Checked<T> = Result<T, Error>;

/// An error with the part of the expression that Go quotes.
fn error<T>(problem: &'static str, part: impl Into<String>) -> Checked<T> {
    Err(Error {
        problem,
        part: part.into(),
    })
}

/// The kind of the last written item, for a repetition that may follow.
#[derive(Debug, Clone, Copy)]
enum Last {
    /// Nothing that can be repeated.
    None,
    /// An item in which the product of nested counts is this.
    Atom(u32),
}

struct Group {
    /// The largest product of counts in it.
    count: u32,
}

struct Translator<'a> {
    whole: &'a str,
    rest: &'a str,
    out: String,
    names: Vec<String>,
    groups: Vec<Group>,
    count: u32,
    last: Last,
    /// The repetition just written, from its start: it may not be repeated.
    repeat: Option<&'a str>,
    /// Flags for the following items, not yet written: Go allows a repetition operator after them to apply to the item
    /// before them.
    flags: String,
}

pub(super) fn translate(pattern: &[u8]) -> Checked<Translated> {
    let Ok(whole) = std::str::from_utf8(pattern) else {
        return error("invalid UTF-8", String::from_utf8_lossy(pattern));
    };
    let mut translator = Translator {
        whole,
        rest: whole,
        out: String::with_capacity(whole.len() + 8),
        names: vec![String::new()],
        groups: Vec::new(),
        count: 1,
        last: Last::None,
        repeat: None,
        flags: String::new(),
    };
    while let Some(c) = translator.rest.chars().next() {
        translator.step(c)?;
    }
    if !translator.groups.is_empty() {
        return error("missing closing )", whole);
    }
    Ok(Translated {
        pattern: translator.out,
        names: translator.names,
    })
}

impl<'a> Translator<'a> {
    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn step(&mut self, c: char) -> Checked<()> {
        let start = self.rest;
        let repeat = self.repeat.take();
        let repeats = matches!(c, '*' | '+' | '?') || c == '{' && counted(start).is_some();
        if !repeats {
            self.out.push_str(&self.flags);
            self.flags.clear();
        }
        match c {
            '(' if self.rest.starts_with("(?") => self.perl_group()?,
            '(' => {
                self.names.push(String::new());
                self.open("(", 1)?;
            }
            ')' => self.close()?,
            '|' => {
                self.out.push('|');
                self.skip(1);
                self.last = Last::None;
            }
            '[' => self.class()?,
            '.' | '^' | '$' => {
                self.out.push(c);
                self.skip(1);
                self.atom(1);
            }
            '*' | '+' | '?' => {
                self.skip(1);
                self.repetition(start, repeat, &start[..1], 1)?;
            }
            '{' => match counted(self.rest) {
                Some((min, max, len)) => {
                    let text = &start[..len];
                    let too_many = |n: u32| n > MAX_REPEAT;
                    if too_many(min) || max.is_some_and(|max| too_many(max) || min > max) {
                        return error("invalid repeat count", text);
                    }
                    self.skip(len);
                    let most = max.unwrap_or(min);
                    let count = if min >= 2 || max.is_some_and(|m| m >= 2) {
                        most.max(1)
                    } else {
                        1
                    };
                    self.repetition(start, repeat, text, count)?;
                }
                None => self.literal('{', 1),
            },
            '\\' => self.escape()?,
            _ => self.literal(c, c.len_utf8()),
        }
        Ok(())
    }

    fn atom(&mut self, count: u32) {
        self.last = Last::Atom(count);
    }

    fn literal(&mut self, c: char, width: usize) {
        push_literal(&mut self.out, c);
        self.skip(width);
        self.atom(1);
    }

    fn repetition(
        &mut self,
        start: &'a str,
        before: Option<&'a str>,
        text: &str,
        count: u32,
    ) -> Checked<()> {
        let lazy = self.rest.starts_with('?');
        if lazy {
            self.skip(1);
        }
        if let Some(before) = before {
            let shown = &before[..before.len() - self.rest.len()];
            return error("invalid nested repetition operator", shown);
        }
        let Last::Atom(inner) = self.last else {
            let shown = &start[..start.len() - self.rest.len()];
            return error("missing argument to repetition operator", shown);
        };
        let product = inner.saturating_mul(count);
        if product > MAX_REPEAT {
            return error("invalid repeat count", text);
        }
        self.out.push_str(text);
        if lazy {
            self.out.push('?');
        }
        self.count = self.count.max(product);
        self.last = Last::Atom(product);
        self.repeat = Some(start);
        Ok(())
    }

    fn open(&mut self, text: &str, width: usize) -> Checked<()> {
        if self.groups.len() >= MAX_NESTING {
            return error("expression nests too deeply", self.whole);
        }
        self.out.push_str(text);
        self.skip(width);
        self.groups.push(Group { count: self.count });
        self.count = 1;
        self.last = Last::None;
        Ok(())
    }

    fn close(&mut self) -> Checked<()> {
        let Some(group) = self.groups.pop() else {
            return error("unexpected )", self.whole);
        };
        self.out.push(')');
        self.skip(1);
        let inner = self.count;
        self.count = group.count.max(inner);
        self.atom(inner);
        Ok(())
    }

    /// Parses a group that begins with `(?`.
    fn perl_group(&mut self) -> Checked<()> {
        let start = self.rest;
        let named = start
            .strip_prefix("(?P<")
            .map(|body| (4, body))
            .or_else(|| start.strip_prefix("(?<").map(|body| (3, body)));
        // "(?<=" and "(?<!" do not begin a name.
        if let Some((prefix, body)) = named {
            let Some(end) = body.find('>') else {
                return error("invalid named capture", start);
            };
            let name = &body[..end];
            let valid =
                !name.is_empty() && name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric());
            if !valid {
                return error("invalid named capture", &start[..=prefix + end]);
            }
            self.names.push(name.to_owned());
            return self.open("(", prefix + end + 1);
        }
        let mut negative = false;
        let mut any = false;
        for (i, c) in start.char_indices().skip(2) {
            let end = i + c.len_utf8();
            match c {
                'i' | 'm' | 's' | 'U' => any = true,
                '-' if !negative => {
                    negative = true;
                    any = false;
                }
                ':' | ')' if !negative || any => {
                    let flags = &start[2..i];
                    if c == ':' {
                        return self.open(&format!("(?{flags}:"), end);
                    }
                    // Without flags there is nothing to write.
                    if !flags.is_empty() {
                        self.flags.push_str(&format!("(?{flags})"));
                    }
                    self.skip(end);
                    return Ok(());
                }
                _ => return error("invalid or unsupported Perl syntax", &start[..end]),
            }
        }
        error("invalid or unsupported Perl syntax", start)
    }

    /// Parses a backslash outside classes.
    fn escape(&mut self) -> Checked<()> {
        let Some(c) = self.rest.chars().nth(1) else {
            return error("trailing backslash at end of expression", "");
        };
        let text = match c {
            'A' => r"\A",
            'z' => r"\z",
            'b' => r"(?-u:\b)",
            'B' => r"(?-u:\B)",
            'Q' => {
                self.skip(2);
                let (quoted, after) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
                for c in quoted.chars() {
                    push_literal(&mut self.out, c);
                    self.atom(1);
                }
                self.rest = after;
                return Ok(());
            }
            _ => match perl_class(c) {
                Some((negated, set)) => {
                    let not = if negated { "^" } else { "" };
                    self.out.push_str(&format!("[{not}{set}]"));
                    self.skip(2);
                    self.atom(1);
                    return Ok(());
                }
                None if c == 'p' || c == 'P' => {
                    let (text, len) = property(self.rest)?;
                    self.out.push_str(&text);
                    self.skip(len);
                    self.atom(1);
                    return Ok(());
                }
                None => {
                    let (code, len) = escaped(self.rest)?;
                    if let Some(c) = char::from_u32(code) {
                        self.literal(c, len);
                    } else {
                        self.out.push_str(NOTHING);
                        self.skip(len);
                        self.atom(1);
                    }
                    return Ok(());
                }
            },
        };
        self.out.push_str(text);
        self.skip(2);
        self.atom(1);
        Ok(())
    }

    /// `[…]`
    fn class(&mut self) -> Checked<()> {
        let start = self.rest;
        self.skip(1);
        self.out.push('[');
        if self.rest.starts_with('^') {
            self.out.push('^');
            self.skip(1);
        }
        let mut first = true;
        loop {
            let Some(c) = self.rest.chars().next() else {
                return error("missing closing ]", start);
            };
            if c == ']' && !first {
                break;
            }
            first = false;
            if self.rest.starts_with("[:")
                && let Some(end) = self.rest.find(":]")
            {
                let name = &self.rest[..end + 2];
                if !is_posix_class(name) {
                    return error("invalid character class range", name);
                }
                self.out.push_str(name);
                self.skip(end + 2);
                continue;
            }
            if let Some(next) = self.rest.strip_prefix('\\').and_then(|r| r.chars().next()) {
                if let Some((negated, set)) = perl_class(next) {
                    let not = if negated { "^" } else { "" };
                    self.out.push_str(&format!("[{not}{set}]"));
                    self.skip(2);
                    continue;
                }
                if next == 'p' || next == 'P' {
                    let (text, len) = property(self.rest)?;
                    self.out.push_str(&text);
                    self.skip(len);
                    continue;
                }
            }
            self.class_range(start)?;
        }
        self.skip(1);
        self.out.push(']');
        self.atom(1);
        Ok(())
    }

    fn class_range(&mut self, class: &'a str) -> Checked<()> {
        let start = self.rest;
        let low = self.class_char(class)?;
        let mut high = low;
        let mut after = self.rest.chars();
        if after.next() == Some('-') && after.next().is_some_and(|c| c != ']') {
            self.skip(1);
            high = self.class_char(class)?;
        }
        if high < low {
            let shown = &start[..start.len() - self.rest.len()];
            return error("invalid character class range", shown);
        }
        // Text never has surrogates.
        let low = if SURROGATES.contains(&low) {
            SURROGATES.end() + 1
        } else {
            low
        };
        let high = if SURROGATES.contains(&high) {
            SURROGATES.start() - 1
        } else {
            high
        };
        if low > high {
            self.out.push_str(NOTHING);
            return Ok(());
        }
        self.out.push_str(&format!("\\x{{{low:x}}}"));
        if high != low {
            self.out.push_str(&format!("-\\x{{{high:x}}}"));
        }
        Ok(())
    }

    fn class_char(&mut self, class: &str) -> Checked<u32> {
        let Some(c) = self.rest.chars().next() else {
            return error("missing closing ]", class);
        };
        let (c, len) = if c == '\\' {
            escaped(self.rest)?
        } else {
            (u32::from(c), c.len_utf8())
        };
        self.skip(len);
        Ok(c)
    }
}

/// Code points that Go accepts in expressions, but that text never has.
const SURROGATES: std::ops::RangeInclusive<u32> = 0xD800..=0xDFFF;
/// Never matches; also valid within a class.
const NOTHING: &str = r"[^\s\S]";

fn push_literal(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || c == '_' || c == ' ' || !c.is_ascii() {
        out.push(c);
    } else {
        out.push_str(&format!("\\x{{{:x}}}", u32::from(c)));
    }
}

/// Parses `{n}`, `{n,}` or `{n,m}` at the start; returns the counts and the length.
fn counted(text: &str) -> Option<(u32, Option<u32>, usize)> {
    let end = text.find('}')?;
    let body = text.get(1..end)?;
    let number = |s: &str| -> Option<u32> {
        let plain = !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        let no_leading_zero = s.len() == 1 || !s.starts_with('0');
        // A number too large for u32 is over the limit anyway.
        (plain && no_leading_zero).then(|| s.parse().unwrap_or(u32::MAX))
    };
    let (min, max) = match body.split_once(',') {
        None => {
            let n = number(body)?;
            (n, Some(n))
        }
        Some((min, "")) => (number(min)?, None),
        Some((min, max)) => (number(min)?, Some(number(max)?)),
    };
    Some((min, max, end + 1))
}

/// The ASCII set of `\d`, `\s` or `\w`, and whether it is negated.
fn perl_class(c: char) -> Option<(bool, &'static str)> {
    let set = match c.to_ascii_lowercase() {
        'd' => "0-9",
        's' => r"\t\n\x0c\r ",
        'w' => "0-9A-Za-z_",
        _ => return None,
    };
    Some((c.is_ascii_uppercase(), set))
}

fn is_posix_class(name: &str) -> bool {
    let name = name.trim_start_matches("[:").trim_end_matches(":]");
    let name = name.strip_prefix('^').unwrap_or(name);
    matches!(
        name,
        "alnum"
            | "alpha"
            | "ascii"
            | "blank"
            | "cntrl"
            | "digit"
            | "graph"
            | "lower"
            | "print"
            | "punct"
            | "space"
            | "upper"
            | "word"
            | "xdigit"
    )
}

/// Parses `\pN`, `\p{Name}` and `\p{^Name}` at the start; returns the translation and the length.
fn property(text: &str) -> Checked<(String, usize)> {
    let mut negated = text.starts_with("\\P");
    let Some(first) = text.chars().nth(2) else {
        return error("invalid character class range", text);
    };
    let (name, len) = if first == '{' {
        let Some(end) = text.find('}') else {
            return error("invalid character class range", text);
        };
        (&text[3..end], end + 1)
    } else {
        (&text[2..2 + first.len_utf8()], 2 + first.len_utf8())
    };
    let bare = name.strip_prefix('^').unwrap_or(name);
    negated ^= name.starts_with('^');
    let plain = !bare.is_empty() && bare.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    let known = plain
        && (bare == "Any"
            || regex::Regex::new(&format!(r"\p{{{bare}}}")).is_ok() && !is_binary(bare));
    if !known {
        return error("invalid character class range", &text[..len]);
    }
    let p = if negated { 'P' } else { 'p' };
    Ok((format!("\\{p}{{{bare}}}"), len))
}

/// Properties that the `regex` crate knows and Go does not: neither categories nor scripts.
fn is_binary(name: &str) -> bool {
    matches!(
        name.to_ascii_lowercase().as_str(),
        "alphabetic"
            | "alpha"
            | "lowercase"
            | "uppercase"
            | "white_space"
            | "whitespace"
            | "emoji"
            | "ascii_hex_digit"
            | "hex_digit"
            | "math"
            | "dash"
            | "ideographic"
            | "id_start"
            | "id_continue"
            | "xid_start"
            | "xid_continue"
            | "cased"
            | "case_ignorable"
    )
}

/// Parses an escaped character at the start; returns it with the length of the escape.
fn escaped(text: &str) -> Checked<(u32, usize)> {
    let mut chars = text.char_indices().skip(1);
    let Some((_, c)) = chars.next() else {
        return error("trailing backslash at end of expression", "");
    };
    let octal_follows = matches!(text.as_bytes().get(2), Some(b'0'..=b'7'));
    let plain = |c| Ok((u32::from(c), 2));
    match c {
        'a' => plain('\u{7}'),
        'f' => plain('\u{c}'),
        'n' => plain('\n'),
        'r' => plain('\r'),
        't' => plain('\t'),
        'v' => plain('\u{b}'),
        '0' => Ok(octal(text)),
        '1'..='7' if octal_follows => Ok(octal(text)),
        'x' => hexadecimal(text),
        _ if c.is_ascii() && !c.is_ascii_alphanumeric() => plain(c),
        _ => error("invalid escape sequence", &text[..=c.len_utf8()]),
    }
}

fn octal(text: &str) -> (u32, usize) {
    let digits = text[1..]
        .bytes()
        .take(3)
        .take_while(|b| (b'0'..=b'7').contains(b))
        .count();
    let n = u32::from_str_radix(&text[1..=digits], 8).unwrap_or(0);
    (n, 1 + digits)
}

/// Parses `\x` with two digits, or with any number of digits in braces. The error quotes as much as Go has read.
fn hexadecimal(text: &str) -> Checked<(u32, usize)> {
    let mut chars = text.char_indices().skip(2);
    let braced = text.get(2..).is_some_and(|body| body.starts_with('{'));
    if braced {
        chars.next();
    }
    let (mut code, mut digits) = (0u32, 0);
    while braced || digits < 2 {
        let Some((at, c)) = chars.next() else {
            return error("invalid escape sequence", text);
        };
        let end = at + c.len_utf8();
        let shown = text.get(..end).unwrap_or(text);
        if braced && c == '}' {
            return match digits {
                0 => error("invalid escape sequence", shown),
                _ => Ok((code, end)),
            };
        }
        match c.to_digit(16) {
            Some(digit) => code = code << 4 | digit,
            // Both digits are read before either is checked.
            None if !braced && digits == 0 => {
                let end = chars.next().map_or(end, |(at, c)| at + c.len_utf8());
                return error("invalid escape sequence", text.get(..end).unwrap_or(text));
            }
            None => return error("invalid escape sequence", shown),
        }
        if code > u32::from(char::MAX) {
            return error("invalid escape sequence", shown);
        }
        digits += 1;
    }
    Ok((code, 4))
}
