//! Words in text: wrapping, abbreviation, letter case of identifiers. From `goutils` and `xstrings`.

use flux_golang::unicode::{self, is_letter, is_lower, is_number, is_space, is_upper};
use flux_gotemplate::{CallError, Context, Functions, Str};

pub(super) fn register(f: &mut Functions) {
    f.add("untitle", |s: Str| Str::from(untitle(&s)));
    f.add("swapcase", |s: Str| Str::from(swap_case(&s)));
    f.add("nospace", |s: Str| no_space(&s));
    f.add("initials", |s: Str| Str::from(initials(&s)));
    f.add("abbrev", |width: i64, s: Str| {
        if width < 4 {
            s
        } else {
            abbreviate(&s, 0, width)
        }
    });
    f.add("abbrevboth", |left: i64, right: i64, s: Str| {
        if right < 4 || left > 0 && right < 7 {
            s
        } else {
            abbreviate(&s, left, right)
        }
    });
    f.add("wrap", |c: &mut Context<'_>, width: i64, s: Str| {
        wrap(c, &s, width, b"\n", false)
    });
    f.add(
        "wrapWith",
        |c: &mut Context<'_>, width: i64, line: Str, s: Str| {
            wrap(
                c,
                &s,
                width,
                if line.is_empty() { b"\n" } else { &line },
                true,
            )
        },
    );
    f.add("camelcase", |s: Str| Str::from(pascal_case(&s)));
    f.add("snakecase", |s: Str| Str::from(joined_lower(&s, '_')));
    f.add("kebabcase", |s: Str| Str::from(joined_lower(&s, '-')));
}

/// `goutils.Uncapitalize`
fn untitle(s: &[u8]) -> Vec<u8> {
    let mut start = true;
    unicode::map(s, |c| {
        if is_space(c) {
            start = true;
        } else if start {
            start = false;
            return unicode::to_lower(c);
        }
        c
    })
}

/// `goutils.SwapCase`: a lower-case letter after white space gets title case.
fn swap_case(s: &[u8]) -> Vec<u8> {
    let mut after_space = true;
    unicode::map(s, |c| {
        if is_upper(c) || unicode::is_title(c) {
            after_space = false;
            unicode::to_lower(c)
        } else if is_lower(c) {
            if std::mem::take(&mut after_space) {
                unicode::to_title(c)
            } else {
                unicode::to_upper(c)
            }
        } else {
            after_space = is_space(c);
            c
        }
    })
}

/// `goutils.DeleteWhiteSpace`, which treats every byte as a character.
fn no_space(s: &Str) -> Str {
    if !s.iter().any(|&b| is_space(char::from(b))) {
        return s.clone();
    }
    let kept: String = s
        .iter()
        .map(|&b| char::from(b))
        .filter(|&c| !is_space(c))
        .collect();
    kept.into()
}

/// `goutils.Initials`, which treats every byte as a character.
fn initials(s: &[u8]) -> String {
    let mut gap = true;
    s.iter()
        .map(|&b| char::from(b))
        .filter(|&c| {
            let first = gap && !is_space(c);
            gap = is_space(c);
            first
        })
        .collect()
}

/// `goutils.AbbreviateFull`, with an empty text in place of errors.
fn abbreviate(s: &Str, offset: i64, width: i64) -> Str {
    let len = s.len() as i64;
    if len <= width || s.is_empty() || width < 4 {
        return if s.is_empty() || len <= width {
            s.clone()
        } else {
            Str::default()
        };
    }
    let cut = |from: i64, to: i64| {
        let (from, to) = (usize::try_from(from), usize::try_from(to));
        match (from, to) {
            (Ok(from), Ok(to)) => s.get(from..to).unwrap_or_default(),
            _ => &[],
        }
    };
    let mut offset = offset.min(len);
    if len - offset < width - 3 {
        offset = len - (width - 3);
    }
    if offset <= 4 {
        return [cut(0, width - 3), b"..."].concat().into();
    }
    if width < 7 {
        return Str::default();
    }
    if offset + width - 3 < len {
        let tail = abbreviate(&Str::new(cut(offset, len)), 0, width - 3);
        return [b"...", tail.as_bytes()].concat().into();
    }
    [b"...", cut(len - (width - 3), len)].concat().into()
}

/// `goutils.WrapCustom`
fn wrap(
    c: &mut Context<'_>,
    s: &[u8],
    width: i64,
    line: &[u8],
    break_words: bool,
) -> Result<Str, CallError> {
    let width = usize::try_from(width).unwrap_or(1).max(1);
    c.charge((s.len() / width.saturating_add(1)).saturating_mul(line.len()))?;
    let mut out = Vec::with_capacity(s.len());
    let mut rest = s;
    while rest.len() > width {
        if rest.first() == Some(&b' ') {
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let window = rest.get(..=width).unwrap_or(rest);
        let at = match memchr::memrchr(b' ', window) {
            Some(at) => at,
            None if break_words => {
                let (head, tail) = rest.split_at(width);
                out.extend_from_slice(head);
                out.extend_from_slice(line);
                rest = tail;
                continue;
            }
            None => match memchr::memchr(b' ', rest.get(width..).unwrap_or_default()) {
                Some(at) => width + at,
                None => break,
            },
        };
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        out.extend_from_slice(line);
        rest = rest.get(at + 1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Ok(out.into())
}

fn is_connector(c: char) -> bool {
    c == '-' || c == '_' || is_space(c)
}

/// `xstrings.ToPascalCase`
fn pascal_case(s: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(s.len());
    let mut runes = unicode::runes(s).map(|(_, c, _)| c).peekable();
    let mut first_upper = false;
    let mut current = None;
    for c in runes.by_ref() {
        if !is_connector(c) {
            first_upper = is_upper(c);
            current = Some(unicode::to_upper(c));
            break;
        }
        current = Some(c);
        unicode::push(&mut out, c);
    }
    let Some(mut current) = current else {
        return out;
    };
    if runes.peek().is_none() {
        // There are only connectors: the last one is written twice.
        unicode::push(&mut out, current);
        return out;
    }
    for c in runes {
        let before = current;
        current = c;
        if is_connector(current) && is_connector(before) {
            unicode::push(&mut out, before);
            continue;
        }
        if is_connector(before) {
            first_upper = is_upper(current);
            current = unicode::to_upper(current);
        } else {
            if first_upper {
                if is_upper(current) {
                    current = unicode::to_lower(current);
                } else {
                    first_upper = false;
                }
            }
            unicode::push(&mut out, before);
        }
    }
    unicode::push(&mut out, current);
    out
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Invalid,
    Number,
    Upper,
    Alphabet,
    Connector,
    Punct,
    Other,
}

/// Letters that are not ideographs.
fn is_alphabet(c: char) -> bool {
    let ideograph = matches!(u32::from(c), 0x3400..=0x4D85 | 0x4E00..=0x9FCC | 0x2_0000..=0x2_B81D);
    is_letter(c) && !ideograph
}

/// The first valid rune, and the width of the invalid bytes before it; at the end, `before`.
fn next_valid(s: &[u8], before: char) -> (char, usize) {
    let mut size = 0;
    for (_, c, width) in unicode::runes(s) {
        size += width;
        if c != unicode::RUNE_ERROR {
            return (c, size);
        }
    }
    (before, size)
}

/// The length of the run from `offset` in which `holds` is true.
fn run(s: &[u8], mut offset: usize, mut c: char, holds: impl Fn(char) -> bool) -> usize {
    while offset < s.len() {
        let size;
        (c, size) = next_valid(s.get(offset..).unwrap_or_default(), c);
        if size == 0 || !holds(c) {
            break;
        }
        offset += size;
    }
    offset
}

fn next_word(s: &[u8]) -> (Word, &[u8], &[u8]) {
    let (c, size) = next_valid(s, unicode::RUNE_ERROR);
    let lower_letter = |c| is_alphabet(c) && !is_upper(c);
    let (word, end) = if c == unicode::RUNE_ERROR {
        (Word::Invalid, size)
    } else if is_connector(c) {
        (Word::Connector, run(s, size, c, is_connector))
    } else if unicode::is_punct(c) {
        (Word::Punct, run(s, size, c, unicode::is_punct))
    } else if is_upper(c) {
        (Word::Upper, upper_word(s, size, c))
    } else if is_alphabet(c) {
        (Word::Alphabet, run(s, size, c, lower_letter))
    } else if is_number(c) {
        (Word::Number, run(s, size, c, is_number))
    } else {
        let other =
            |c| !(is_connector(c) || is_alphabet(c) || is_number(c) || unicode::is_punct(c));
        (Word::Other, run(s, size, c, other))
    };
    let (head, tail) = s.split_at(end.min(s.len()));
    (word, head, tail)
}

/// "HTTPStatus" is "HTTP" and "Status"; "Status" is one word.
fn upper_word(s: &[u8], first: usize, c: char) -> usize {
    if first >= s.len() {
        return first;
    }
    let (second, size) = next_valid(s.get(first..).unwrap_or_default(), c);
    if is_upper(second) {
        let mut last = size;
        let mut offset = first + size;
        let mut c = second;
        while offset < s.len() {
            let size;
            (c, size) = next_valid(s.get(offset..).unwrap_or_default(), c);
            if !is_upper(c) {
                break;
            }
            last = size;
            offset += size;
        }
        if offset < s.len() && is_alphabet(c) {
            offset -= last;
        }
        return offset;
    }
    if is_alphabet(second) {
        return run(s, first + size, second, |c| is_alphabet(c) && !is_upper(c));
    }
    first
}

fn push_lower(out: &mut Vec<u8>, word: Word, s: &[u8], connector: char) {
    if word != Word::Upper && word != Word::Connector {
        return out.extend_from_slice(s);
    }
    for (_, c, _) in unicode::runes(s) {
        let c = if is_connector(c) {
            connector
        } else {
            unicode::to_lower(c)
        };
        unicode::push(out, c);
    }
}

/// `xstrings.ToSnakeCase` and `ToKebabCase`
fn joined_lower(s: &[u8], connector: char) -> Vec<u8> {
    let mut out = Vec::with_capacity(s.len() + 8);
    if s.is_empty() {
        return out;
    }
    let joins = |w| !matches!(w, Word::Invalid | Word::Punct | Word::Connector);
    let (mut kind, mut word, mut rest) = next_word(s);
    let advance = |rest: &mut &[u8]| -> (Word, Vec<u8>) {
        if rest.is_empty() {
            return (Word::Invalid, Vec::new());
        }
        let (kind, word, after) = next_word(rest);
        let owned = word.to_vec();
        // The slice is part of the input; only the word is copied.
        let skip = rest.len() - after.len();
        *rest = rest.get(skip..).unwrap_or_default();
        (kind, owned)
    };
    let mut owned = word.to_vec();
    while !rest.is_empty() {
        if kind != Word::Connector {
            push_lower(&mut out, kind, &owned, connector);
        }
        let before = kind;
        let last = owned.clone();
        (kind, owned) = advance(&mut rest);
        match before {
            Word::Number => {
                while matches!(kind, Word::Alphabet | Word::Number) {
                    push_lower(&mut out, kind, &owned, connector);
                    (kind, owned) = advance(&mut rest);
                }
                if joins(kind) {
                    unicode::push(&mut out, connector);
                }
            }
            Word::Connector => push_lower(&mut out, before, &last, connector),
            Word::Punct => {}
            _ => {
                if kind != Word::Number {
                    if kind != Word::Connector && kind != Word::Punct {
                        unicode::push(&mut out, connector);
                    }
                    continue;
                }
                if rest.is_empty() {
                    continue;
                }
                let number = owned;
                (kind, owned) = advance(&mut rest);
                // A number belongs to the word before it, unless lower-case letters follow.
                if kind != Word::Alphabet {
                    push_lower(&mut out, Word::Number, &number, connector);
                    if kind != Word::Connector && kind != Word::Punct {
                        unicode::push(&mut out, connector);
                    }
                    continue;
                }
                unicode::push(&mut out, connector);
                push_lower(&mut out, Word::Number, &number, connector);
                while matches!(kind, Word::Alphabet | Word::Number) {
                    push_lower(&mut out, kind, &owned, connector);
                    (kind, owned) = advance(&mut rest);
                }
                if joins(kind) {
                    unicode::push(&mut out, connector);
                }
            }
        }
    }
    word = &owned;
    push_lower(&mut out, kind, word, connector);
    out
}
