//! `path.Match`.

use std::convert::Infallible;

use crate::unicode;

/// A compiled pattern of `path.Match`: `*` matches any text without a slash, `?` any character except a slash, `[a-z]` and
/// `[^a-z]` a character of a class, and a character after `\\` itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The parts between stars, in order.
    chunks: Vec<Chunk>,
    /// Whether the pattern ends with a star.
    open_end: bool,
}

/// The part between two stars.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chunk {
    after_star: bool,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Byte(u8),
    AnyChar,
    /// Boxed to keep steps small, since there are many patterns.
    Class(Box<Class>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

/// `path.ErrBadPattern`: an unclosed class, an escape at the end, or a range without bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

impl Pattern {
    /// Compiles a pattern. Go reports a malformed pattern only on matching, but for every name.
    ///
    /// # Errors
    /// [`BadPattern`].
    pub fn compile(mut text: &[u8]) -> Result<Self, BadPattern> {
        let mut chunks = Vec::new();
        let mut open_end = false;
        while !text.is_empty() {
            let stars = text.iter().take_while(|byte| **byte == b'*').count();
            text = &text[stars..];
            let (chunk, rest) = text.split_at(chunk_end(text));
            text = rest;
            if chunk.is_empty() {
                open_end = true;
            } else {
                chunks.push(Chunk {
                    after_star: stars > 0,
                    steps: compile_steps(chunk)?,
                });
            }
        }
        Ok(Self { chunks, open_end })
    }

    /// The text that the pattern matches, if it matches only one.
    pub fn literal(&self) -> Option<Box<[u8]>> {
        let (false, [chunk]) = (self.open_end, self.chunks.as_slice()) else {
            return None;
        };
        let byte = |step: &Step| match step {
            Step::Byte(byte) => Some(*byte),
            Step::AnyChar | Step::Class(_) => None,
        };
        let text = chunk.steps.iter().map(byte).collect::<Option<_>>();
        text.filter(|_| !chunk.after_star)
    }

    /// Whether the pattern matches the whole name.
    pub fn matches(&self, name: &[u8]) -> bool {
        let Ok(matches) = self.matches_within(name, |_| Ok::<_, Infallible>(()));
        matches
    }

    /// As [`Pattern::matches`]; `spend` is called with the number of steps since the last call, and may end the matching
    /// with an error. The time is proportional to the product of the lengths of pattern and name.
    ///
    /// # Errors
    /// The error of `spend`.
    pub fn matches_within<E>(
        &self,
        mut name: &[u8],
        mut spend: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<bool, E> {
        for (at, chunk) in self.chunks.iter().enumerate() {
            let last = at + 1 == self.chunks.len() && !self.open_end;
            match chunk.find(name, last, &mut spend)? {
                Some(rest) => name = rest,
                None => return Ok(false),
            }
        }
        Ok(if self.open_end {
            !name.contains(&b'/')
        } else {
            name.is_empty()
        })
    }
}

impl Chunk {
    /// The rest of `name` after the first match of the chunk. After a star the match may begin at any byte; the last chunk
    /// has to match up to the end of the name.
    fn find<'n, E>(
        &self,
        name: &'n [u8],
        last: bool,
        spend: &mut impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Option<&'n [u8]>, E> {
        // Each step takes at least one byte.
        let Some(most) = name.len().checked_sub(self.steps.len()) else {
            spend(1)?;
            return Ok(None);
        };
        let skips = if self.after_star { most } else { 0 };
        for skip in 0..=skips {
            let (rest, taken) = match_steps(&self.steps, &name[skip..]);
            spend(1 + taken)?;
            if let Some(rest) = rest
                && (!last || rest.is_empty())
            {
                return Ok(Some(rest));
            }
            // A star does not match a slash.
            if name.get(skip) == Some(&b'/') {
                break;
            }
        }
        Ok(None)
    }
}

/// The rest of `name` after `steps`, if they match, and the number of steps that did.
fn match_steps<'n>(steps: &[Step], mut name: &'n [u8]) -> (Option<&'n [u8]>, usize) {
    for (at, step) in steps.iter().enumerate() {
        let Some((&first, rest)) = name.split_first() else {
            return (None, at);
        };
        name = match step {
            Step::Byte(byte) if *byte == first => rest,
            Step::Byte(_) => return (None, at),
            Step::AnyChar if first == b'/' => return (None, at),
            Step::AnyChar => &name[unicode::decode(name).1..],
            Step::Class(class) => {
                let (char, width) = unicode::decode(name);
                let within = class
                    .ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&char));
                if within == class.negated {
                    return (None, at + class.ranges.len());
                }
                &name[width..]
            }
        };
    }
    (Some(name), steps.len())
}

/// The end of the chunk at the start of `text`: the next star outside brackets.
fn chunk_end(text: &[u8]) -> usize {
    let mut in_class = false;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' if at + 1 < text.len() => at += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'*' if !in_class => break,
            _ => {}
        }
        at += 1;
    }
    at
}

fn compile_steps(mut chunk: &[u8]) -> Result<Vec<Step>, BadPattern> {
    let mut steps = Vec::new();
    while let Some((first, rest)) = chunk.split_first() {
        chunk = rest;
        match first {
            b'[' => {
                let (class, rest) = compile_class(rest)?;
                steps.push(class);
                chunk = rest;
            }
            b'?' => steps.push(Step::AnyChar),
            b'\\' => {
                let (escaped, rest) = rest.split_first().ok_or(BadPattern)?;
                steps.push(Step::Byte(*escaped));
                chunk = rest;
            }
            byte => steps.push(Step::Byte(*byte)),
        }
    }
    Ok(steps)
}

/// Compiles a class after its opening bracket.
fn compile_class(mut text: &[u8]) -> Result<(Step, &[u8]), BadPattern> {
    let negated = text.first() == Some(&b'^');
    if negated {
        text = &text[1..];
    }
    let mut ranges = Vec::new();
    loop {
        if let Some((b']', rest)) = text.split_first()
            && !ranges.is_empty()
        {
            return Ok((Step::Class(Box::new(Class { negated, ranges })), rest));
        }
        let (low, rest) = class_char(text)?;
        text = rest;
        let mut high = low;
        if let Some((b'-', rest)) = text.split_first() {
            (high, text) = class_char(rest)?;
        }
        ranges.push((low, high));
    }
}

/// One character of a class, escaped or not. It must not be the end of the text.
fn class_char(text: &[u8]) -> Result<(char, &[u8]), BadPattern> {
    let text = match text.split_first().ok_or(BadPattern)? {
        (b'-' | b']', _) => return Err(BadPattern),
        (b'\\', rest) => rest,
        _ => text,
    };
    let (char, width) = unicode::decode(text);
    let rest = &text[width..];
    if rest.is_empty() || (char == unicode::RUNE_ERROR && width == 1) {
        return Err(BadPattern);
    }
    Ok((char, rest))
}
