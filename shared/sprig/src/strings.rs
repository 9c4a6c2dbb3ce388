//! Texts: trimming, case, substrings, quoting.

use flux_golang::{strconv, unicode};
use flux_gotemplate::{CallError, Context, Functions, Str, Value, Variadic, fmt};
use memchr::memmem;

use super::convert::to_text;

type Text = Result<Str, CallError>;

pub(super) fn register(f: &mut Functions) {
    f.add("hello", || "Hello!");
    f.add("trim", |s: Str| Str::new(unicode::trim_space(&s)));
    f.add("upper", |s: Str| {
        Str::from(unicode_map(&s, unicode::to_upper))
    });
    f.add("lower", |s: Str| {
        Str::from(unicode_map(&s, unicode::to_lower))
    });
    f.add("title", |s: Str| Str::from(title(&s)));
    f.add("trimall", |cut: Str, s: Str| Str::new(trim_all(&s, &cut)));
    f.alias("trimAll", "trimall");
    f.add("trimPrefix", |p: Str, s: Str| {
        s.strip_prefix(&*p).map_or_else(|| s.clone(), Str::new)
    });
    f.add("trimSuffix", |p: Str, s: Str| {
        s.strip_suffix(&*p).map_or_else(|| s.clone(), Str::new)
    });
    f.add("repeat", |c: &mut Context<'_>, n: i64, s: Str| {
        repeat(c, &s, n)
    });
    f.add("trunc", |n: i64, s: Str| trunc(n, &s));
    f.add("substr", |start: i64, end: i64, s: Str| {
        substring(start, end, &s)
    });
    f.add("contains", |sub: Str, s: Str| {
        memmem::find(&s, &sub).is_some()
    });
    f.add("hasPrefix", |p: Str, s: Str| s.starts_with(&p));
    f.add("hasSuffix", |p: Str, s: Str| s.ends_with(&p));
    f.add("quote", |v: Variadic<Value>| quote(&v.0));
    f.add("squote", |v: Variadic<Value>| squote(&v.0));
    f.add("cat", |v: Variadic<Value>| cat(v.0));
    f.add("indent", |c: &mut Context<'_>, n: i64, s: Str| {
        indent(c, n, &s, b"")
    });
    f.add("nindent", |c: &mut Context<'_>, n: i64, s: Str| {
        indent(c, n, &s, b"\n")
    });
    f.add(
        "replace",
        |c: &mut Context<'_>, old: Str, new: Str, s: Str| replace(c, &s, &old, &new),
    );
    f.add(
        "plural",
        |one: Str, many: Str, n: i64| if n == 1 { one } else { many },
    );
}

fn unicode_map(s: &[u8], to: fn(char) -> char) -> Vec<u8> {
    unicode::map(s, to)
}

/// `strings.Title`
fn title(s: &[u8]) -> Vec<u8> {
    let mut before = ' ';
    unicode::map(s, |c| {
        let to = if is_separator(before) {
            unicode::to_title(c)
        } else {
            c
        };
        before = c;
        to
    })
}

fn is_separator(c: char) -> bool {
    if c.is_ascii() {
        return !(c.is_ascii_alphanumeric() || c == '_');
    }
    !(unicode::is_letter(c) || unicode::is_digit(c)) && unicode::is_space(c)
}

/// `strings.Trim`
fn trim_all<'a>(mut s: &'a [u8], cut: &[u8]) -> &'a [u8] {
    let cut: Vec<char> = unicode::runes(cut).map(|(_, c, _)| c).collect();
    loop {
        let (c, width) = unicode::decode(s);
        if width == 0 || !cut.contains(&c) {
            break;
        }
        s = s.get(width..).unwrap_or_default();
    }
    loop {
        let (c, width) = unicode::decode_last(s);
        if width == 0 || !cut.contains(&c) {
            return s;
        }
        s = s.get(..s.len() - width).unwrap_or_default();
    }
}

/// `strings.Repeat`
pub(super) fn repeat(c: &mut Context<'_>, s: &[u8], n: i64) -> Text {
    let n = usize::try_from(n).map_err(|_| CallError::new("strings: negative Repeat count"))?;
    let len = s
        .len()
        .checked_mul(n)
        .filter(|&len| isize::try_from(len).is_ok())
        .ok_or("strings: Repeat output length overflow")?;
    c.charge(len)?;
    Ok(s.repeat(n).into())
}

fn trunc(n: i64, s: &Str) -> Str {
    let len = s.len() as i64;
    if n < 0 && len.saturating_add(n) > 0 {
        return Str::new(s.get((len + n) as usize..).unwrap_or_default());
    }
    match usize::try_from(n).ok().and_then(|n| s.get(..n)) {
        Some(start) => Str::new(start),
        None => s.clone(),
    }
}

/// A substring, with Go's panics.
fn substring(start: i64, end: i64, s: &Str) -> Text {
    let len = s.len() as i64;
    let bounds =
        |text: String| Err(format!("runtime error: slice bounds out of range {text}").into());
    let (from, to) = if start < 0 {
        (0, end)
    } else if end < 0 || end > len {
        (start, len)
    } else {
        (start, end)
    };
    if to < 0 {
        return bounds(format!("[:{to}]"));
    }
    if to > len {
        return bounds(format!("[:{to}] with length {len}"));
    }
    match s.get(from as usize..to as usize) {
        Some(part) => Ok(Str::new(part)),
        None => bounds(format!("[{from}:{to}]")),
    }
}

fn quote(values: &[Value]) -> Text {
    let mut out = Vec::new();
    for value in values.iter().filter(|v| !matches!(v, Value::Nil)) {
        if !out.is_empty() {
            out.push(b' ');
        }
        strconv::quote_into(&mut out, &to_text(value)?, false);
    }
    Ok(out.into())
}

fn squote(values: &[Value]) -> Text {
    let mut out = Vec::new();
    for value in values.iter().filter(|v| !matches!(v, Value::Nil)) {
        if !out.is_empty() {
            out.push(b' ');
        }
        out.push(b'\'');
        fmt::print(&mut out, std::slice::from_ref(value))?;
        out.push(b'\'');
    }
    Ok(out.into())
}

fn cat(values: Vec<Value>) -> Text {
    let mut out = Vec::new();
    let mut first = true;
    for value in values.into_iter().filter(|v| !matches!(v, Value::Nil)) {
        if !first {
            out.push(b' ');
        }
        first = false;
        fmt::print(&mut out, &[value])?;
    }
    Ok(out.into())
}

fn indent(c: &mut Context<'_>, n: i64, s: &[u8], before: &[u8]) -> Text {
    let pad = usize::try_from(n).map_err(|_| CallError::new("strings: negative Repeat count"))?;
    let lines = memchr::memchr_iter(b'\n', s).count() + 1;
    let len = pad
        .checked_mul(lines)
        .and_then(|n| n.checked_add(s.len() + 1))
        .ok_or("strings: Repeat output length overflow")?;
    c.charge(len)?;
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(before);
    out.resize(out.len() + pad, b' ');
    let mut rest = s;
    while let Some(at) = memchr::memchr(b'\n', rest) {
        let (line, after) = rest.split_at(at + 1);
        out.extend_from_slice(line);
        out.resize(out.len() + pad, b' ');
        rest = after;
    }
    out.extend_from_slice(rest);
    Ok(out.into())
}

/// `strings.ReplaceAll`: an empty `old` matches before every rune and at the end.
fn replace(c: &mut Context<'_>, s: &Str, old: &[u8], new: &[u8]) -> Text {
    if old == new {
        return Ok(s.clone());
    }
    if old.is_empty() {
        let count = unicode::rune_count(s) + 1;
        c.charge(count.saturating_mul(new.len()))?;
        let mut out = Vec::with_capacity(s.len() + count * new.len());
        for (at, _, width) in unicode::runes(s) {
            out.extend_from_slice(new);
            out.extend_from_slice(s.get(at..at + width).unwrap_or_default());
        }
        out.extend_from_slice(new);
        return Ok(out.into());
    }
    let finder = memmem::Finder::new(old);
    let count = finder.find_iter(s).count();
    if count == 0 {
        return Ok(s.clone());
    }
    c.charge(count.saturating_mul(new.len()))?;
    let mut out = Vec::with_capacity(s.len() + count * new.len().saturating_sub(old.len()));
    let mut from = 0;
    for at in finder.find_iter(s) {
        out.extend_from_slice(s.get(from..at).unwrap_or_default());
        out.extend_from_slice(new);
        from = at + old.len();
    }
    out.extend_from_slice(s.get(from..).unwrap_or_default());
    Ok(out.into())
}
