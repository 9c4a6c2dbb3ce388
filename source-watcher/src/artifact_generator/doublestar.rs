//! Patterns in the syntax of doublestar, which excludes and the Extract strategy use: `**` for any number of folders, `*`,
//! `?`, classes, `\` and alternatives in braces.
//!
//! A pattern is compiled once, and matched in time proportional to the product of its length and the path's, whatever its
//! braces and stars: alternatives are not written out.

use super::steps::{Steps, TooSlow};

/// The most commas within the braces of a pattern (SW-GEN-205).
const MAX_COMMAS: usize = 20;
/// The deepest nesting of braces.
const MAX_DEPTH: usize = 20;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Doublestar {
    code: Vec<Token>,
}

/// Why a text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    /// A brace or class is not closed, a class is empty, or an escape is at the end.
    #[error("syntax error in pattern")]
    Syntax,
    /// The pattern has so many commas within braces (SW-GEN-205).
    #[error("pattern has {0} alternatives in '{{}}' groups, at most {MAX_COMMAS} are allowed")]
    TooManyAlternatives(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `*`
    Star,
    /// `**`
    DoubleStar,
    /// `?`
    Any,
    Class(Box<Class>),
    /// The beginnings of the alternatives of a brace.
    Split(Vec<usize>),
    /// The end of an alternative: where the brace ends.
    Jump(usize),
    End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

/// A place in the pattern, with what a step from there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a token; `first` if a `**` there is one of its own.
    At { token: usize, first: bool },
    /// Within the text of a star: any character but a slash.
    Star { next: usize },
    /// Within folders that a `**` matches; `next` is after the slash that follows it.
    Folders { next: usize },
    /// Within what a `**` at the end matches.
    Rest,
}

/// Refuses a pattern with too many alternatives, also where braces have no meaning (SW-GEN-205).
pub(super) fn check_alternatives(text: &str) -> Result<(), PatternError> {
    match commas(text) {
        count if count > MAX_COMMAS => Err(PatternError::TooManyAlternatives(count)),
        _ => Ok(()),
    }
}

impl Doublestar {
    /// Compiles a pattern.
    pub(super) fn compile(text: &str) -> Result<Self, PatternError> {
        check_alternatives(text)?;
        let characters: Vec<char> = text.chars().collect();
        let mut code = Vec::new();
        compile(&characters, &mut code, 0)?;
        code.push(Token::End);
        Ok(Self { code })
    }

    /// Whether the pattern matches the whole path.
    pub(super) fn matches(&self, path: &str, steps: &Steps) -> Result<bool, TooSlow> {
        let mut places = Places::new(self.code.len());
        let start = Place::At {
            token: 0,
            first: true,
        };
        self.enter(start, &mut places);
        for character in path.chars() {
            steps.spend(1 + places.list.len() as u64)?;
            let mut next = Places::new(self.code.len());
            for place in &places.list {
                self.step(*place, character, &mut next);
            }
            if next.list.is_empty() {
                return Ok(false);
            }
            places = next;
        }
        let ends = places.list.iter().any(|place| match place {
            Place::At { token, .. } => self.matches_nothing(*token, 0, true),
            Place::Star { .. } | Place::Folders { .. } => false,
            Place::Rest => true,
        });
        Ok(ends)
    }

    /// Adds a place, and those that are reached from it without a character.
    fn enter(&self, place: Place, places: &mut Places) {
        if !places.add(place) {
            return;
        }
        let Place::At { token, first } = place else {
            return;
        };
        match &self.code[token] {
            // Each alternative is matched as if it stood in the pattern itself, where doublestar begins anew.
            Token::Split(alternatives) => {
                for token in alternatives {
                    let place = Place::At {
                        token: *token,
                        first: true,
                    };
                    self.enter(place, places);
                }
            }
            Token::Jump(token) => self.enter(
                Place::At {
                    token: *token,
                    first,
                },
                places,
            ),
            Token::DoubleStar if first && self.is_end(token + 1) => self.enter(Place::Rest, places),
            Token::DoubleStar if first && self.slash(token + 1).is_some() => {
                let next = self.slash(token + 1).unwrap_or(token) + 1;
                self.enter(Place::Folders { next }, places);
                let after = Place::At {
                    token: next,
                    first: true,
                };
                self.enter(after, places);
            }
            Token::Star | Token::DoubleStar => {
                self.enter(Place::Star { next: token + 1 }, places);
                let after = Place::At {
                    token: token + 1,
                    first: false,
                };
                self.enter(after, places);
            }
            Token::Char(_) | Token::Any | Token::Class(_) | Token::End => {}
        }
    }

    fn step(&self, place: Place, character: char, next: &mut Places) {
        match place {
            Place::Rest => self.enter(Place::Rest, next),
            Place::Star { next: after } if character != '/' => {
                self.enter(Place::Star { next: after }, next);
                let after = Place::At {
                    token: after,
                    first: false,
                };
                self.enter(after, next);
            }
            Place::Star { .. } => {}
            Place::Folders { next: after } => {
                self.enter(Place::Folders { next: after }, next);
                if character == '/' {
                    let after = Place::At {
                        token: after,
                        first: true,
                    };
                    self.enter(after, next);
                }
            }
            Place::At { token, .. } => {
                let matches = match &self.code[token] {
                    Token::Char(wanted) => *wanted == character,
                    Token::Any => character != '/',
                    Token::Class(class) => class.has(character),
                    _ => false,
                };
                if matches {
                    let first = self.code[token] == Token::Char('/');
                    let after = Place::At {
                        token: token + 1,
                        first,
                    };
                    self.enter(after, next);
                }
            }
        }
    }

    /// Whether nothing follows from `token` on.
    fn is_end(&self, token: usize) -> bool {
        match &self.code[token] {
            Token::End => true,
            Token::Jump(after) => self.is_end(*after),
            _ => false,
        }
    }

    /// The slash at `token`, if that is what follows.
    fn slash(&self, token: usize) -> Option<usize> {
        match &self.code[token] {
            Token::Char('/') => Some(token),
            Token::Jump(after) => self.slash(*after),
            _ => None,
        }
    }

    /// Whether the rest of the pattern from `token` on matches the end of a path: it is empty, `*`, `**`, `/**`, `**/` or
    /// `/**/`, or a brace with such an alternative. `seen` has the tokens before it, a digit each.
    fn matches_nothing(&self, token: usize, seen: u32, braces: bool) -> bool {
        const STAR: u32 = 1;
        const DOUBLE: u32 = 2;
        const SLASH: u32 = 3;
        let digit = match &self.code[token] {
            Token::End => return matches!(seen, 0 | STAR | DOUBLE | 32 | 23 | 323),
            Token::Jump(after) => return self.matches_nothing(*after, seen, braces),
            Token::Split(alternatives) if braces => {
                let mut alternatives = alternatives.iter();
                return alternatives.any(|token| self.matches_nothing(*token, 0, true));
            }
            Token::Star => STAR,
            Token::DoubleStar => DOUBLE,
            Token::Char('/') => SLASH,
            _ => return false,
        };
        seen < 100 && self.matches_nothing(token + 1, seen * 10 + digit, false)
    }
}

impl Class {
    fn has(&self, character: char) -> bool {
        let mut ranges = self.ranges.iter();
        let found = ranges.any(|(from, to)| (*from..=*to).contains(&character));
        found != self.negated
    }
}

/// A set of places.
struct Places {
    list: Vec<Place>,
    /// Whether a place of each token is in the list, a bit for each kind.
    seen: Vec<u8>,
    rest: bool,
}

impl Places {
    fn new(tokens: usize) -> Self {
        Self {
            list: Vec::new(),
            seen: vec![0; tokens + 1],
            rest: false,
        }
    }

    /// Adds a place; false if it was there.
    fn add(&mut self, place: Place) -> bool {
        let (token, bit) = match place {
            Place::At { token, first } => (token, if first { 1 } else { 2 }),
            Place::Star { next } => (next, 4),
            Place::Folders { next } => (next, 8),
            Place::Rest => {
                let new = !std::mem::replace(&mut self.rest, true);
                if new {
                    self.list.push(place);
                }
                return new;
            }
        };
        let seen = &mut self.seen[token];
        let new = *seen & bit == 0;
        *seen |= bit;
        if new {
            self.list.push(place);
        }
        new
    }
}

/// The commas within braces.
fn commas(text: &str) -> usize {
    let (mut depth, mut count) = (0_usize, 0);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth > 0 => count += 1,
            _ => {}
        }
    }
    count
}

fn compile(text: &[char], code: &mut Vec<Token>, depth: usize) -> Result<(), PatternError> {
    let mut at = 0;
    while let Some(character) = text.get(at) {
        at += 1;
        match character {
            '*' if text.get(at) == Some(&'*') => {
                at += 1;
                code.push(Token::DoubleStar);
            }
            '*' => code.push(Token::Star),
            '?' => code.push(Token::Any),
            '\\' => {
                let escaped = text.get(at).ok_or(PatternError::Syntax)?;
                at += 1;
                code.push(Token::Char(*escaped));
            }
            '[' => {
                let (class, after) = class(text, at)?;
                at = after;
                code.push(Token::Class(Box::new(class)));
            }
            '{' => {
                let close = closing(text, at).ok_or(PatternError::Syntax)?;
                if depth >= MAX_DEPTH {
                    return Err(PatternError::Syntax);
                }
                braces(&text[at..close], code, depth)?;
                at = close + 1;
            }
            '}' => return Err(PatternError::Syntax),
            other => code.push(Token::Char(*other)),
        }
    }
    Ok(())
}

/// Compiles the alternatives between two braces.
fn braces(text: &[char], code: &mut Vec<Token>, depth: usize) -> Result<(), PatternError> {
    let split = code.len();
    code.push(Token::Split(Vec::new()));
    let (mut beginnings, mut jumps) = (Vec::new(), Vec::new());
    for alternative in alternatives(text) {
        beginnings.push(code.len());
        compile(alternative, code, depth + 1)?;
        jumps.push(code.len());
        code.push(Token::Jump(0));
    }
    let end = code.len();
    for jump in jumps {
        code[jump] = Token::Jump(end);
    }
    code[split] = Token::Split(beginnings);
    Ok(())
}

/// The place of the brace that closes the one before `from`.
fn closing(text: &[char], from: usize) -> Option<usize> {
    let (mut depth, mut at) = (1, from);
    while let Some(character) = text.get(at) {
        match character {
            '\\' => at += 1,
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The parts of a text between its commas outside of braces.
fn alternatives(text: &[char]) -> Vec<&[char]> {
    let (mut parts, mut from, mut depth, mut at) = (Vec::new(), 0, 0, 0);
    while let Some(character) = text.get(at) {
        match character {
            '\\' => at += 1,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(&text[from..]);
    parts
}

/// The class whose text begins at `at`, and where the text after it begins.
fn class(text: &[char], mut at: usize) -> Result<(Class, usize), PatternError> {
    let negated = matches!(text.get(at), Some('^' | '!'));
    at += usize::from(negated);
    let mut ranges: Vec<(char, char)> = Vec::new();
    // The character that a range may begin with.
    let mut last = None;
    loop {
        let mut character = *text.get(at).ok_or(PatternError::Syntax)?;
        at += 1;
        if character == ']' {
            if ranges.is_empty() {
                return Err(PatternError::Syntax);
            }
            return Ok((Class { negated, ranges }, at));
        }
        let is_range = character == '-' && text.get(at).is_some_and(|next| *next != ']');
        if let Some(from) = last.take().filter(|_| is_range) {
            let mut to = *text.get(at).ok_or(PatternError::Syntax)?;
            at += 1;
            if to == '\\' {
                to = *text.get(at).ok_or(PatternError::Syntax)?;
                at += 1;
            }
            ranges.push((from, to));
            continue;
        }
        if character == '\\' {
            character = *text.get(at).ok_or(PatternError::Syntax)?;
            at += 1;
        }
        ranges.push((character, character));
        last = Some(character);
    }
}

#[cfg(test)]
mod tests;
