//! The layout of an index in YAML: block mappings, by the indentation of their keys.

use std::io::BufRead;

use flux_budget::{Budget, Claim};

use super::{Form, Layout, MAX_HEADER, claim_chart};
use crate::index::IndexError;

/// What the lines belong to.
enum Within {
    Header,
    /// The charts, of which the first gives the indentation.
    Entries,
}

/// What a line means for the layout.
enum Line<'l> {
    /// Blank, or a comment: part of whatever it is in.
    Nothing,
    /// A key of the outermost mapping.
    Key(&'l str),
    /// Anything that is indented.
    Indented(usize),
    /// What only a complete parser may judge.
    Unclear,
}

/// Scans the lines. Memory for a line is claimed, since a line may be as long as the file.
pub(super) fn find(
    input: &mut impl BufRead,
    budget: &Budget,
    charts: &Claim,
) -> Result<Option<Layout>, IndexError> {
    let mut layout = Layout {
        form: Form::Yaml,
        header: Vec::new(),
        charts: None,
    };
    let (mut within, mut indent, mut at) = (Within::Header, None, 0_u64);
    let mut line = Vec::new();
    let claim = budget.claim();
    loop {
        line.clear();
        let read = input.read_until(b'\n', &mut line);
        let length = read.map_err(IndexError::Read)? as u64;
        if length == 0 {
            break;
        }
        if line.capacity() as u64 > claim.held() {
            claim.take(line.capacity() as u64 - claim.held())?;
        }
        let begin = at;
        at += length;
        let Ok(text) = std::str::from_utf8(&line) else {
            return Ok(None);
        };
        if begin == 0 && text.trim_end() == "---" {
            continue;
        }
        match (judge(text), &within) {
            (Line::Unclear, _) => return Ok(None),
            (Line::Nothing, Within::Entries) => extend(&mut layout, at),
            (Line::Nothing | Line::Indented(_), Within::Header) => layout.header.extend(&line),
            (Line::Key(key), _) => {
                within = Within::Header;
                if key.trim_end() != "entries" {
                    layout.header.extend(&line);
                } else if layout.charts.is_some() || has_value(text) {
                    return Ok(None);
                } else {
                    layout.charts = Some(Vec::new());
                    within = Within::Entries;
                }
            }
            (Line::Indented(by), Within::Entries) => {
                let indent = *indent.get_or_insert(by);
                let rest = text.get(by..).unwrap_or_default();
                match chart_key(rest) {
                    Some(name) if by == indent => {
                        claim_chart(charts, name)?;
                        let name = name.to_owned();
                        layout
                            .charts
                            .get_or_insert_default()
                            .push((name, begin..at));
                    }
                    _ if by > indent || by == indent && is_item(rest) => extend(&mut layout, at),
                    _ => return Ok(None),
                }
            }
        }
        if layout.header.len() > MAX_HEADER {
            return Ok(None);
        }
    }
    // `entries:` with nothing below is null.
    layout.charts = layout.charts.filter(|charts| !charts.is_empty());
    Ok(Some(layout))
}

/// Adds the bytes up to `end` to the last chart.
fn extend(layout: &mut Layout, end: u64) {
    if let Some((_, range)) = layout.charts.as_mut().and_then(|charts| charts.last_mut()) {
        range.end = end;
    }
}

fn judge(line: &str) -> Line<'_> {
    let text = line.trim_start_matches(' ');
    let indent = line.len() - text.len();
    match text.trim_end_matches(['\n', '\r', ' ']).as_bytes() {
        [] | [b'#', ..] => Line::Nothing,
        _ if indent > 0 => Line::Indented(indent),
        [b'a'..=b'z' | b'A'..=b'Z', ..] => match text.split_once(':') {
            Some((key, rest)) if rest.starts_with([' ', '\n', '\r']) || rest.is_empty() => {
                let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric());
                if plain { Line::Key(key) } else { Line::Unclear }
            }
            _ => Line::Unclear,
        },
        [b'-', b' ', ..] => Line::Indented(0), // the items of a list in the header
        _ => Line::Unclear,
    }
}

/// Whether there is more than a comment after the colon.
fn has_value(line: &str) -> bool {
    let value = line.split_once(':').map_or("", |(_, value)| value.trim());
    !(value.is_empty() || value.starts_with('#'))
}

fn is_item(text: &str) -> bool {
    text.starts_with("- ") || text.trim_end() == "-"
}

/// The name in a line that begins the list of a chart.
fn chart_key(text: &str) -> Option<&str> {
    let (key, _) = text.split_once(':').filter(|_| !is_item(text))?;
    let plain = |key: &str| {
        let name =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
        !key.is_empty() && key.bytes().all(name)
    };
    let quoted = ['"', '\'']
        .iter()
        .find_map(|quote| key.strip_prefix(*quote)?.strip_suffix(*quote));
    let key = quoted.unwrap_or(key);
    plain(key).then_some(key).filter(|_| !has_value(text))
}
