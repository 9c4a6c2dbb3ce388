//! The output of the demo: headings, lines, tables, and one line that is overwritten while something takes long.

use std::io::{IsTerminal, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

/// How many characters of a controller's message are shown.
const SHOWN: usize = 110;
/// Hexadecimal numbers of this length are hashes.
const HASH: usize = 40;
/// How many digits of a hash are shown.
const DIGITS: usize = 8;

/// Whether the last line is to be overwritten.
static PASSING: AtomicBool = AtomicBool::new(false);

/// A step's title.
pub(crate) fn heading(title: &str) {
    end_passing();
    if std::io::stdout().is_terminal() {
        println!("\n\x1b[1m{title}\x1b[0m");
    } else {
        println!("\n{title}");
    }
}

/// One line below a title.
pub(crate) fn say(line: &str) {
    end_passing();
    println!("   {line}");
}

/// A line that the next one replaces on a terminal.
pub(crate) fn say_for_now(line: &str) {
    if !std::io::stdout().is_terminal() {
        return say(line);
    }
    end_passing();
    print!("   {line}");
    let _ = std::io::stdout().flush();
    PASSING.store(true, Ordering::Relaxed);
}

fn end_passing() {
    if PASSING.swap(false, Ordering::Relaxed) {
        print!("\r\x1b[2K");
    }
}

/// Prints a table with columns as wide as their widest cell.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    end_passing();
    print!("\n{}", render(header, rows));
}

fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&header).chain(rows).collect();
    let width = |column: usize| {
        all.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let mut text = String::new();
    for row in &all {
        let cells = row
            .iter()
            .enumerate()
            .map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str("   ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The string in a JSON value; empty if it is another.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A message as one line of bearable length: its lines joined, its hashes and its end cut.
pub(crate) fn brief(message: &str) -> String {
    let lines: Vec<&str> = message.lines().map(str::trim).collect();
    let message = short(&lines.join("; "));
    match message.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", message[..end].trim_end()),
        None => message,
    }
}

/// A text whose hashes are cut.
pub(crate) fn short(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, number) = rest.split_at(start);
        let end = number
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(number.len());
        let (number, after) = number.split_at(end);
        shown.push_str(before);
        shown.push_str(if end >= HASH {
            &number[..DIGITS]
        } else {
            number
        });
        rest = after;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::{brief, render, short};

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".to_owned(), "long cell".to_owned()],
            vec!["bcd".to_owned(), "x".to_owned()],
        ];
        assert_eq!(
            render(&["K", "V"], &rows),
            "   K    V\n   a    long cell\n   bcd  x\n"
        );
    }

    #[test]
    fn hashes_and_long_messages_are_cut() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(
            short(&format!("stored main@sha1:{hash} of facade")),
            "stored main@sha1:01234567 of facade"
        );
        assert_eq!(short("no hash: beef"), "no hash: beef");
        assert_eq!(brief("one\n two"), "one; two");
        assert_eq!(
            brief(&"ä ".repeat(100)),
            format!("{}...", "ä ".repeat(55).trim_end())
        );
    }
}
