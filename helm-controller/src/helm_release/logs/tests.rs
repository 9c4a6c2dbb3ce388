//! The lines behind the messages of failures.

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

// HC-EVT-011
#[test]
fn the_last_ten_lines_follow_the_message() {
    let logs = Logs::default();
    assert_eq!(logs.behind("it failed"), "it failed");
    for line in 0..12 {
        logs.add(format!("line {line}"), at(line));
    }
    let shown = logs.behind("it failed");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[..4], ["it failed", "", "Last Helm logs:", ""]);
    assert_eq!(lines.len(), 14);
    assert_eq!(lines[4], "1970-01-01T00:00:02Z: line 2");
    assert_eq!(lines[13], "1970-01-01T00:00:11Z: line 11");
}

// HC-EVT-011
#[test]
fn repeated_lines_are_counted() {
    for (times, want) in [
        (1, "1970-01-01T00:00:00Z: a"),
        (2, "1970-01-01T00:00:00Z: a\n1970-01-01T00:00:01Z: a"),
        (
            3,
            "1970-01-01T00:00:00Z: a\n1970-01-01T00:00:02Z: a (1 duplicate line omitted)",
        ),
        (
            5,
            "1970-01-01T00:00:00Z: a\n1970-01-01T00:00:04Z: a (3 duplicate lines omitted)",
        ),
    ] {
        let logs = Logs::default();
        for second in 0..times {
            logs.add("a".to_owned(), at(second));
        }
        let shown = logs.behind("m");
        assert_eq!(shown, format!("m\n\nLast Helm logs:\n\n{want}"));
    }
}

#[test]
fn attributes_are_written_as_json() {
    let logs = Logs::default();
    logs.line(
        LogLevel::Warn,
        "odd",
        &[("name", "web".into()), ("count", 2.into())],
    );
    logs.line(LogLevel::Debug, "plain", &[]);
    let shown = logs.behind("m");
    assert!(
        shown.contains("warning: odd: {\"count\":2,\"name\":\"web\"}"),
        "{shown}"
    );
    assert!(shown.ends_with("plain: {}"), "{shown}");
}
