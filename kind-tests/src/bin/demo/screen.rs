//! The output of the demo.

use std::io::IsTerminal;

/// A step's title.
pub(crate) fn heading(title: &str) {
    if std::io::stdout().is_terminal() {
        println!("\n\x1b[1m{title}\x1b[0m");
    } else {
        println!("\n{title}");
    }
}

/// One line below a title.
pub(crate) fn say(line: &str) {
    println!("   {line}");
}

/// Prints a table with columns as wide as their widest cell.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    print!("{}", render(header, rows));
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

#[cfg(test)]
mod tests {
    use super::render;

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
}
