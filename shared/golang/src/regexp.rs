//! Go's `regexp`: RE2 syntax is checked and translated for the `regex` crate, whose matches are the same (leftmost-first).

mod syntax;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use regex::bytes::{Regex as Engine, RegexBuilder};

use crate::{strconv, unicode};

/// Maximum bytes of a compiled expression.
const SIZE_LIMIT: usize = 8 << 20;
/// Maximum bytes of the tables that matching fills, as in the `regex` crate. A smaller expression gets smaller ones.
const MAX_TABLES: usize = 2 << 20;
/// The bytes that expressions in the cache of the process may take. The first that one fits into counts for it; one that
/// fits into none is not kept.
const CACHED_SIZES: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];
/// How many times these bytes an expression takes: compiled forwards and backwards, and the tables of two threads.
const COPIES: usize = 4;
/// The bytes that all of them may take.
const CACHED: usize = 32 << 20;

static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);

/// Expressions by their text. Those that were used least recently go first.
#[derive(Default)]
struct Cache {
    kept: HashMap<Vec<u8>, Kept>,
    bytes: usize,
    clock: u64,
}

struct Kept {
    regex: Arc<Regex>,
    bytes: usize,
    used: u64,
}

impl Cache {
    fn get(&mut self, pattern: &[u8]) -> Option<Arc<Regex>> {
        let kept = self.kept.get_mut(pattern)?;
        self.clock += 1;
        kept.used = self.clock;
        Some(Arc::clone(&kept.regex))
    }

    fn insert(&mut self, pattern: &[u8], regex: Arc<Regex>, size: usize) {
        let bytes = pattern.len() + COPIES * size;
        if bytes > CACHED || self.kept.contains_key(pattern) {
            return;
        }
        while self.bytes > CACHED - bytes {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used);
            let oldest = oldest.map(|(pattern, _)| pattern.clone());
            let Some(gone) = oldest.and_then(|pattern| self.kept.remove(&pattern)) else {
                break;
            };
            self.bytes -= gone.bytes;
        }
        self.clock += 1;
        self.bytes += bytes;
        let used = self.clock;
        let kept = Kept { regex, bytes, used };
        self.kept.insert(pattern.to_vec(), kept);
    }
}

/// A text is not a regular expression; the message is Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {problem}: `{part}`")]
pub struct Error {
    problem: &'static str,
    part: String,
}

impl Error {
    /// Whether the expression is valid, but larger than the limit when compiled.
    pub fn is_too_large(&self) -> bool {
        self.problem == TOO_LARGE
    }
}

const TOO_LARGE: &str = "expression too large";

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Regex {
    engine: Engine,
    empty: bool,
    /// The names of the groups, by index; group 0 is the whole match.
    names: Vec<String>,
}

impl Regex {
    /// `regexp.Compile`, for expressions that are at most 8 MiB when compiled.
    ///
    /// # Errors
    /// Go's message, `error parsing regexp: …`.
    pub fn compile(pattern: &[u8]) -> Result<Self, Error> {
        Self::compile_within(pattern, SIZE_LIMIT)
    }

    /// As [`Regex::compile`], with a cache that all threads share, for expressions that are used again and again. It has a
    /// bound in bytes.
    ///
    /// # Errors
    /// As [`Regex::compile`].
    pub fn cached(pattern: &[u8]) -> Result<Arc<Self>, Error> {
        let known = CACHE.lock().ok().and_then(|mut cache| cache.get(pattern));
        if let Some(regex) = known {
            return Ok(regex);
        }
        for size in CACHED_SIZES {
            match Self::compile_within(pattern, size) {
                Ok(regex) => {
                    let regex = Arc::new(regex);
                    if let Ok(mut cache) = CACHE.lock() {
                        cache.insert(pattern, Arc::clone(&regex), size);
                    }
                    return Ok(regex);
                }
                Err(error) if error.is_too_large() => {}
                Err(error) => return Err(error),
            }
        }
        Self::compile(pattern).map(Arc::new)
    }

    /// As [`Regex::compile`], for expressions of at most `bytes` when compiled.
    ///
    /// # Errors
    /// As [`Regex::compile`]; a larger expression is [too large](Error::is_too_large).
    pub fn compile_within(pattern: &[u8], bytes: usize) -> Result<Self, Error> {
        let translated = syntax::translate(pattern)?;
        let engine = RegexBuilder::new(&translated.pattern)
            .size_limit(bytes)
            .dfa_size_limit(bytes.min(MAX_TABLES))
            .build()
            .map_err(|error| Error {
                problem: match error {
                    regex::Error::CompiledTooBig(_) => TOO_LARGE,
                    _ => "invalid character class range",
                },
                part: String::from_utf8_lossy(pattern).into_owned(),
            })?;
        Ok(Self {
            engine,
            empty: pattern.is_empty(),
            names: translated.names,
        })
    }

    /// `MatchString`
    pub fn is_match(&self, text: impl AsRef<[u8]>) -> bool {
        self.engine.is_match(text.as_ref())
    }

    /// `FindString`
    pub fn find<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        self.engine.find(text).map(|m| m.as_bytes())
    }

    /// `FindAllStringIndex`: at most `limit` matches; an empty match directly after another is skipped.
    pub fn find_all(&self, text: &[u8], limit: Option<usize>) -> Vec<(usize, usize)> {
        let limit = limit.unwrap_or(usize::MAX);
        let mut found = Vec::new();
        let (mut at, mut last_end) = (0, None);
        while found.len() < limit && at <= text.len() {
            let Some(m) = self.engine.find_at(text, at) else {
                break;
            };
            let empty = m.end() == at;
            if !(empty && Some(m.start()) == last_end) {
                found.push((m.start(), m.end()));
            }
            at = if empty {
                at + width_at(text, at).max(1)
            } else {
                m.end()
            };
            last_end = Some(m.end());
        }
        found
    }

    /// `Split`
    pub fn split<'t>(&self, text: &'t [u8], limit: Option<usize>) -> Vec<&'t [u8]> {
        if limit == Some(0) {
            return Vec::new();
        }
        if !self.empty && text.is_empty() {
            return vec![b""];
        }
        let mut parts = Vec::new();
        let (mut from, mut to) = (0, 0);
        for (start, end) in self.find_all(text, limit) {
            if limit.is_some_and(|n| parts.len() == n - 1) {
                break;
            }
            to = start;
            if end != 0 {
                parts.push(text.get(from..to).unwrap_or_default());
            }
            from = end;
        }
        if to != text.len() {
            parts.push(text.get(from..).unwrap_or_default());
        }
        parts
    }

    /// `ReplaceAllLiteralString`
    pub fn replace_literal(&self, text: &[u8], with: &[u8], limit: usize) -> Option<Vec<u8>> {
        self.replace(text, limit, |out, _| out.extend_from_slice(with))
    }

    /// `ReplaceAllString`: `$1` and `${name}` in the replacement are replaced by groups.
    pub fn replace_expanding(&self, text: &[u8], template: &[u8], limit: usize) -> Option<Vec<u8>> {
        self.replace(text, limit, |out, groups| {
            self.expand(out, template, groups);
        })
    }

    /// `None` if the result would be longer than `limit`.
    fn replace(
        &self,
        text: &[u8],
        limit: usize,
        mut write: impl FnMut(&mut Vec<u8>, &regex::bytes::Captures<'_>),
    ) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(text.len());
        let (mut at, mut last_end) = (0, 0);
        while at <= text.len() {
            let Some(groups) = self.engine.captures_at(text, at) else {
                break;
            };
            let Some(whole) = groups.get(0) else { break };
            out.extend_from_slice(text.get(last_end..whole.start()).unwrap_or_default());
            if whole.end() > last_end || whole.start() == 0 {
                write(&mut out, &groups);
            }
            if out.len() > limit {
                return None;
            }
            last_end = whole.end();
            let step = width_at(text, at);
            at = if at + step > last_end {
                at + step
            } else if at + 1 > last_end {
                at + 1
            } else {
                last_end
            };
        }
        out.extend_from_slice(text.get(last_end..).unwrap_or_default());
        Some(out)
    }

    /// `FindStringSubmatchIndex` and `ExpandString`: the template with the groups of the first match in place of `$1` and
    /// `${name}`. `None` without a match, and for a result of more than `limit` bytes.
    pub fn expand_first(&self, text: &[u8], template: &[u8], limit: usize) -> Option<Vec<u8>> {
        let groups = self.engine.captures(text)?;
        let mut out = Vec::new();
        self.expand(&mut out, template, &groups);
        (out.len() <= limit).then_some(out)
    }

    fn expand(&self, out: &mut Vec<u8>, template: &[u8], groups: &regex::bytes::Captures<'_>) {
        let mut rest = template;
        while let Some(at) = memchr::memchr(b'$', rest) {
            out.extend_from_slice(rest.get(..at).unwrap_or_default());
            rest = rest.get(at + 1..).unwrap_or_default();
            if rest.first() == Some(&b'$') {
                out.push(b'$');
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let Some((name, after)) = group_name(rest) else {
                out.push(b'$');
                continue;
            };
            rest = after;
            if let Some(group) = self.group(name, groups) {
                out.extend_from_slice(group);
            }
        }
        out.extend_from_slice(rest);
    }

    fn group<'t>(&self, name: &[u8], groups: &regex::bytes::Captures<'t>) -> Option<&'t [u8]> {
        let leading_zero = name.len() > 1 && name.first() == Some(&b'0');
        if name.iter().all(u8::is_ascii_digit) && !leading_zero {
            let number = strconv::parse_uint(name, 10)
                .ok()
                .filter(|&n| n < 100_000_000)?;
            return groups.get(number as usize).map(|m| m.as_bytes());
        }
        let mut named = self.names.iter().enumerate();
        named
            .find_map(|(i, n)| groups.get(i).filter(|_| n.as_bytes() == name))
            .map(|m| m.as_bytes())
    }
}

fn width_at(text: &[u8], at: usize) -> usize {
    unicode::decode(text.get(at..).unwrap_or_default()).1
}

/// Parses `name` or `{name}` after a `$`; returns it with the rest.
fn group_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (braced, body) = match text.strip_prefix(b"{") {
        Some(body) => (true, body),
        None => (false, text),
    };
    let end = unicode::runes(body)
        .find(|(_, c, _)| !(unicode::is_letter(*c) || unicode::is_digit(*c) || *c == '_'))
        .map_or(body.len(), |(at, ..)| at);
    let (name, rest) = body.split_at(end);
    if name.is_empty() {
        return None;
    }
    if braced {
        return Some((name, rest.strip_prefix(b"}")?));
    }
    Some((name, rest))
}

/// `regexp.QuoteMeta`
pub fn quote_meta(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 2);
    for &b in text {
        if br"\.+*?()|[]{}^$".contains(&b) {
            out.push(b'\\');
        }
        out.push(b);
    }
    out
}

#[cfg(test)]
mod tests;
