//! Evaluates templates to text.

use std::borrow::Cow;

use flux_golang::unicode;

use super::parse::{Expression, Operator, Part};
use super::{MAX_OUTPUT, SubstituteError, Variables, glob};
use crate::meter::Allowance;

/// The growth of a text after which memory is claimed, in bytes.
const PORTION: usize = 64 << 10;

type Bytes<'t> = Cow<'t, [u8]>;

/// One evaluation of a template.
pub(super) struct Evaluation<'v> {
    variables: &'v Variables,
    strict: bool,
    allowance: &'v Allowance,
    /// The memory claimed for texts so far.
    taken: u64,
}

impl<'v> Evaluation<'v> {
    pub(super) fn new(variables: &'v Variables, strict: bool, allowance: &'v Allowance) -> Self {
        Self {
            variables,
            strict,
            allowance,
            taken: 0,
        }
    }

    /// The text of a template. Its memory stays claimed, temporary memory is released; all of it after a failure.
    pub(super) fn text(&mut self, parts: &[Part<'_>]) -> Result<Vec<u8>, SubstituteError> {
        let mut out = Vec::new();
        let result = self.write(parts, &mut out);
        let left = if result.is_ok() { out.len() as u64 } else { 0 };
        self.allowance
            .claim()
            .give_back(self.taken.saturating_sub(left));
        result.map(|()| out)
    }

    fn write(&mut self, parts: &[Part<'_>], out: &mut Vec<u8>) -> Result<(), SubstituteError> {
        for part in parts {
            let text = self.value(part)?;
            if out.len() + text.len() > MAX_OUTPUT {
                return Err(SubstituteError::TooLarge);
            }
            self.take(text.len())?;
            out.extend_from_slice(&text);
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<(), SubstituteError> {
        if self.allowance.is_cancelled() {
            return Err(SubstituteError::Cancelled);
        }
        let bytes = bytes as u64;
        let claim = self.allowance.claim();
        claim.take(bytes).map_err(SubstituteError::Memory)?;
        self.taken += bytes;
        Ok(())
    }

    fn value<'t>(&mut self, part: &'t Part<'_>) -> Result<Bytes<'t>, SubstituteError>
    where
        'v: 't,
    {
        match part {
            Part::Text(text) => Ok(Cow::Borrowed(text)),
            Part::Expression(expression) => {
                let value = self.evaluate(expression)?;
                if let Cow::Owned(made) = &value {
                    self.take(made.len())?;
                }
                Ok(value)
            }
        }
    }

    fn evaluate<'t>(&mut self, expression: &'t Expression<'_>) -> Result<Bytes<'t>, SubstituteError>
    where
        'v: 't,
    {
        // Arguments are evaluated first, needed or not (KC-SUB-025).
        let mut arguments = Vec::new();
        for argument in &expression.arguments {
            arguments.push(self.value(argument)?);
        }
        let variable = self.variables.get(expression.name);
        if self.strict && variable.is_none() && expression.operator != Operator::Default {
            return Err(SubstituteError::NotSet(expression.name.to_owned()));
        }
        let text = variable.unwrap_or(&[]);
        let first = arguments.first().map_or(&[][..], |argument| argument);
        let second = arguments.get(1).map(|argument| &**argument);
        Ok(match expression.operator {
            Operator::Default if text.is_empty() => Cow::Owned(arguments.concat()),
            Operator::Default | Operator::Value | Operator::MixedCase => Cow::Borrowed(text),
            Operator::Length => Cow::Owned(text.len().to_string().into_bytes()),
            Operator::UpperFirst => change_first(text, unicode::to_upper),
            Operator::LowerFirst => change_first(text, unicode::to_lower),
            Operator::Upper => change_all(text, unicode::to_upper),
            Operator::Lower => change_all(text, unicode::to_lower),
            Operator::Substring => Cow::Borrowed(substring(text, first, second)),
            Operator::ReplaceFirst => self.replace(text, first, second.unwrap_or(&[]), 1)?,
            Operator::ReplaceAll => self.replace(text, first, second.unwrap_or(&[]), usize::MAX)?,
            // Without a replacement these have no effect (KC-SUB-036).
            Operator::ReplacePrefix => match second {
                Some(new) if text.starts_with(first) => self.replace(text, first, new, 1)?,
                _ => Cow::Borrowed(text),
            },
            Operator::ReplaceSuffix => match (second, text.strip_suffix(first)) {
                (Some(new), Some(kept)) => Cow::Owned([kept, new].concat()),
                _ => Cow::Borrowed(text),
            },
            Operator::TrimShortestPrefix => Cow::Borrowed(self.trim(text, first, false)?),
            Operator::TrimLongestPrefix => Cow::Borrowed(self.trim(text, first, true)?),
            Operator::TrimShortestSuffix => self.trim_suffix(text, first, false)?,
            Operator::TrimLongestSuffix => self.trim_suffix(text, first, true)?,
        })
    }

    /// `strings.Replace`: an empty pattern matches before every character and at the end.
    fn replace<'t>(
        &mut self,
        text: &'t [u8],
        old: &[u8],
        new: &[u8],
        limit: usize,
    ) -> Result<Bytes<'t>, SubstituteError> {
        let mut out = Vec::new();
        let mut from = 0;
        let mut replaced = 0;
        let mut claimed = 0;
        while replaced < limit {
            let found = if old.is_empty() {
                // The first match is at the start, each further one after the next character.
                let step = match replaced {
                    0 => 0,
                    _ => match text.get(from..) {
                        None | Some([]) => break,
                        Some(rest) => unicode::decode(rest).1,
                    },
                };
                Some(from + step)
            } else {
                find(text, old, from)
            };
            let Some(at) = found else { break };
            out.extend_from_slice(text.get(from..at).unwrap_or(&[]));
            out.extend_from_slice(new);
            if out.len() > MAX_OUTPUT {
                return Err(SubstituteError::TooLarge);
            }
            if out.len() - claimed > PORTION {
                self.take(out.len() - claimed)?;
                claimed = out.len();
            }
            from = at + old.len();
            replaced += 1;
        }
        if replaced == 0 {
            return Ok(Cow::Borrowed(text));
        }
        out.extend_from_slice(text.get(from..).unwrap_or(&[]));
        Ok(Cow::Owned(out))
    }

    /// Removes the shortest or longest prefix that the pattern matches, never an empty one (KC-SUB-041). An invalid
    /// pattern leaves the text unchanged.
    fn trim<'t>(
        &self,
        text: &'t [u8],
        pattern: &[u8],
        longest: bool,
    ) -> Result<&'t [u8], SubstituteError> {
        let mut found = None;
        for length in (1..=text.len()).rev() {
            // Each iteration may scan all of the text.
            if self.allowance.is_cancelled() {
                return Err(SubstituteError::Cancelled);
            }
            match glob::matches(pattern, text.get(..length).unwrap_or(text)) {
                Err(_) => return Ok(text),
                Ok(true) => {
                    found = Some(length);
                    if longest {
                        break;
                    }
                }
                Ok(false) => {}
            }
        }
        Ok(found.and_then(|length| text.get(length..)).unwrap_or(text))
    }

    /// As [`trim`](Self::trim), on the text and pattern with their characters reversed (KC-SUB-040).
    fn trim_suffix<'t>(
        &self,
        text: &[u8],
        pattern: &[u8],
        longest: bool,
    ) -> Result<Bytes<'t>, SubstituteError> {
        let reversed = reverse(text);
        let left = self.trim(&reversed, &reverse(pattern), longest)?;
        Ok(Cow::Owned(reverse(left)))
    }
}

/// `strconv.Atoi`.
fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A slice by bytes; arguments that are not numbers give the whole text (KC-SUB-031 to KC-SUB-034). A negative length is an
/// end, counted from that of the text (KC-SUB-042).
fn substring<'t>(text: &'t [u8], position: &[u8], length: Option<&[u8]>) -> &'t [u8] {
    let Some(position) = number(position) else {
        return text;
    };
    let before_end = |count: i64| {
        let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        text.len().checked_sub(count)
    };
    let position = if position < 0 {
        before_end(position).unwrap_or(0)
    } else {
        usize::try_from(position).unwrap_or(usize::MAX)
    };
    let rest = text.get(position..).unwrap_or(&[]);
    let Some(length) = length else {
        return rest;
    };
    match number(length) {
        None => text,
        Some(length) if length < 0 => before_end(length)
            .and_then(|end| text.get(position..end))
            .unwrap_or(&[]),
        Some(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            rest.get(..length).unwrap_or(rest)
        }
    }
}

fn find(text: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    text.get(from..)?
        .windows(wanted.len())
        .position(|window| window == wanted)
        .map(|at| from + at)
}

fn reverse(bytes: &[u8]) -> Vec<u8> {
    let text = text_of(bytes);
    text.chars().rev().collect::<String>().into_bytes()
}

/// Bytes as text, with each byte that is not UTF-8 replaced.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

fn change_all(text: &[u8], change: fn(char) -> char) -> Bytes<'_> {
    let changed: String = text_of(text).chars().map(change).collect();
    Cow::Owned(changed.into_bytes())
}

fn change_first(text: &[u8], change: fn(char) -> char) -> Bytes<'_> {
    if text.is_empty() {
        return Cow::Borrowed(text);
    }
    let (c, width) = unicode::decode(text);
    let first = change(c);
    let mut out = first.to_string().into_bytes();
    out.extend_from_slice(text.get(width..).unwrap_or(&[]));
    Cow::Owned(out)
}
