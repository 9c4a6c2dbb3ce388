//! The tokens of an expression.

use crate::source::{Problems, Source};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// An operator or a bracket.
    Sign(&'static str),
    /// `in`, `true`, `false` or `null`.
    Word(&'static str),
    Ident,
    /// A name in backquotes.
    QuotedIdent,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    End,
}

/// A token and the characters that it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lexeme {
    pub(crate) token: Token,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// All signs, longer ones first.
const SIGNS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!",
    "?", ":", "+", "*", "/", "%",
];

const WORDS: [&str; 4] = ["in", "true", "false", "null"];

/// Splits an expression into tokens; the last one is [`Token::End`]. What is no token is reported and left out.
pub(crate) fn tokens(source: &Source, problems: &mut Problems<'_>) -> Vec<Lexeme> {
    let text = &source.text;
    let mut found = Vec::new();
    let mut start = 0;
    while let Some(c) = text.get(start) {
        if matches!(c, ' ' | '\t' | '\r' | '\n' | '\u{c}') {
            start += 1;
            continue;
        }
        if *c == '/' && text.get(start + 1) == Some(&'/') {
            let rest = &text[start..];
            start += rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
            continue;
        }
        match token(text, start) {
            Ok((token, end)) => {
                found.push(Lexeme { token, start, end });
                start = end;
            }
            Err(end) => {
                let end = end.clamp(start + 1, text.len());
                let part: String = text[start..end].iter().collect();
                let part = part
                    .replace('\n', "\\n")
                    .replace('\t', "\\t")
                    .replace('\r', "\\r");
                let message = format!("Syntax error: token recognition error at: '{part}'");
                problems.report(start, message);
                start = end;
            }
        }
    }
    found.push(Lexeme {
        token: Token::End,
        start: text.len(),
        end: text.len(),
    });
    found
}

/// The token that begins at `start`, and its end.
///
/// # Errors
/// The end of the characters that are no token.
fn token(text: &[char], start: usize) -> Result<(Token, usize), usize> {
    let c = text[start];
    if let Some(end) = quoted(text, start)? {
        return Ok(end);
    }
    if c.is_ascii_digit() || (c == '.' && text.get(start + 1).is_some_and(char::is_ascii_digit)) {
        return Ok(number(text, start));
    }
    if c.is_ascii_alphabetic() || c == '_' {
        let rest = &text[start..];
        let is_part = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        let end = start + rest.iter().position(|c| !is_part(c)).unwrap_or(rest.len());
        let name: String = text[start..end].iter().collect();
        let word = WORDS.iter().find(|word| **word == name);
        return Ok((word.map_or(Token::Ident, |word| Token::Word(word)), end));
    }
    if c == '`' {
        let is_part =
            |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ' ');
        let rest = &text[start + 1..];
        let length = rest.iter().position(|c| !is_part(c)).unwrap_or(rest.len());
        let end = start + 1 + length;
        return if length > 0 && text.get(end) == Some(&'`') {
            Ok((Token::QuotedIdent, end + 1))
        } else {
            Err(end + 1)
        };
    }
    let begins = |sign: &&&str| {
        let mut characters = sign.chars().enumerate();
        characters.all(|(i, c)| text.get(start + i) == Some(&c))
    };
    match SIGNS.iter().find(begins) {
        Some(sign) => Ok((Token::Sign(sign), start + sign.len())),
        // `=`, `&` and `|` begin a sign of two characters
        None if matches!(c, '=' | '&' | '|') => Err(start + 2),
        None => Err(start + 1),
    }
}

/// The string or bytes literal that begins at `start`, if one does.
fn quoted(text: &[char], start: usize) -> Result<Option<(Token, usize)>, usize> {
    let mut at = start;
    let mut token = Token::String;
    if matches!(text.get(at), Some('b' | 'B')) {
        token = Token::Bytes;
        at += 1;
    }
    let raw = matches!(text.get(at), Some('r' | 'R'));
    if raw {
        at += 1;
    }
    let Some(quote @ ('"' | '\'')) = text.get(at) else {
        return Ok(None);
    };
    let is_quote = |i: usize| text.get(i) == Some(quote);
    let triple = is_quote(at + 1) && is_quote(at + 2);
    let closing = if triple { 3 } else { 1 };
    at += closing;
    loop {
        let closes = (0..closing).all(|i| is_quote(at + i));
        match text.get(at) {
            _ if closes => return Ok(Some((token, at + closing))),
            None if triple => {
                // without a third pair of quotes it is an empty literal followed by another
                return Ok(Some((token, start + prefix(start, text) + 2)));
            }
            None => return Err(at),
            Some('\n' | '\r') if !triple => return Err(at + 1),
            Some('\\') if !raw => match escape(text, at) {
                Some(end) => at = end,
                None => return Err(at + 2),
            },
            Some(_) => at += 1,
        }
    }
}

/// The number of characters before the quotes of a literal.
fn prefix(start: usize, text: &[char]) -> usize {
    let rest = &text[start..];
    rest.iter()
        .position(|c| matches!(c, '"' | '\''))
        .unwrap_or_default()
}

/// The end of the escape sequence that begins at `at`.
fn escape(text: &[char], at: usize) -> Option<usize> {
    let digits = |count: usize, radix: u32| {
        let digits = text.get(at + 2..at + 2 + count)?;
        let all = digits.iter().all(|c| c.is_digit(radix));
        all.then_some(at + 2 + count)
    };
    match text.get(at + 1)? {
        'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '`' | '\\' | '?' => Some(at + 2),
        'x' | 'X' => digits(2, 16),
        'u' => digits(4, 16),
        'U' => digits(8, 16),
        '0'..='3' => digits(2, 8),
        _ => None,
    }
}

/// The number that begins at `start`.
fn number(text: &[char], start: usize) -> (Token, usize) {
    let run = |from: usize, radix: u32| {
        let rest = text.get(from..).unwrap_or_default();
        from + rest
            .iter()
            .position(|c| !c.is_digit(radix))
            .unwrap_or(rest.len())
    };
    let is_digit = |i: usize| text.get(i).is_some_and(char::is_ascii_digit);
    let whole = |end: usize| match text.get(end) {
        Some('u' | 'U') => (Token::Uint, end + 1),
        _ => (Token::Int, end),
    };
    if text[start] == '0' && text.get(start + 1) == Some(&'x') {
        let end = run(start + 2, 16);
        if end > start + 2 {
            return whole(end);
        }
    }
    let mut end = run(start, 10);
    let mut double = false;
    if text.get(end) == Some(&'.') && is_digit(end + 1) {
        end = run(end + 1, 10);
        double = true;
    }
    if matches!(text.get(end), Some('e' | 'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some('+' | '-')));
        if is_digit(end + 1 + sign) {
            end = run(end + 1 + sign, 10);
            double = true;
        }
    }
    if double {
        (Token::Double, end)
    } else {
        whole(end)
    }
}
