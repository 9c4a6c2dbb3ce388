//! Texts that several services get.

use flux_golang::unicode;
use std::fmt::Write as _;

use crate::event::Event;

/// `kind/name.namespace` (NC-HTTP-012).
pub(super) fn heading(event: &Event) -> String {
    let object = &event.involved_object;
    let kind = object.kind.to_lowercase();
    format!("{kind}/{}.{}", object.name, object.namespace)
}

/// The sign of a severity in chats.
pub(super) fn emoji(event: &Event) -> &'static str {
    if event.is_error() { "🚨" } else { "💫" }
}

/// `kind/name`, and the reason in words (NC-PROV-079).
pub(super) fn name_and_description(event: &Event) -> (String, String) {
    let object = &event.involved_object;
    let name = format!("{}/{}", object.kind, object.name).to_lowercase();
    let words = words(&event.reason);
    (name, words.join(" ").to_lowercase())
}

/// Splits a text where its characters change class; of a run of capitals before small letters, the last belongs to them.
fn words(text: &str) -> Vec<String> {
    let class = |char: char| {
        if unicode::is_lower(char) {
            1
        } else if unicode::is_upper(char) {
            2
        } else if unicode::is_digit(char) {
            3
        } else {
            4
        }
    };
    let mut runs: Vec<(u8, Vec<char>)> = Vec::new();
    for char in text.chars() {
        match runs.last_mut() {
            Some((last, run)) if *last == class(char) => run.push(char),
            _ => runs.push((class(char), vec![char])),
        }
    }
    for at in 1..runs.len() {
        let (before, after) = runs.split_at_mut(at);
        if let (Some((2, upper)), Some((1, lower))) = (before.last_mut(), after.first_mut())
            && let Some(last) = upper.pop()
        {
            lower.insert(0, last);
        }
    }
    runs.into_iter()
        .map(|(_, run)| run.into_iter().collect::<String>())
        .filter(|word| !word.is_empty())
        .collect()
}

/// The body of comments and of Zulip's messages (NC-PROV-080).
pub(super) fn markdown(event: &Event) -> String {
    let emoji = if event.is_error() { "⚠️" } else { "ℹ️" };
    let object = event.involved_object.shown();
    let mut text = format!(
        "## Flux Status\n\n{emoji} {object}\n\n{}\n\nMetadata:\n",
        event.message
    );
    for (key, value) in &event.metadata {
        if key != "change_request" {
            let _ = writeln!(text, "* `{key}`: {value}");
        }
    }
    text
}

/// Whether an event tells of work that is not over: no service that knows only success and failure is told of it
/// (NC-PROVCAP-001, FR-N-017).
pub(super) fn is_in_progress(event: &Event) -> bool {
    match &*event.reason {
        "Progressing" => true,
        "DependencyNotReady" | "HealthCheckCanceled" => !event.is_error(),
        _ => false,
    }
}

/// Cuts a text to this many characters.
pub(super) fn cut(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    let kept = text.chars().take(characters.saturating_sub(1));
    kept.chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_split_into_words() {
        // NC-PROV-079
        for (reason, want) in [
            ("ReconciliationSucceeded", "reconciliation succeeded"),
            ("PDFLoader", "pdf loader"),
            ("Progressing", "progressing"),
            ("HTTP2Error", "http 2 error"),
            ("", ""),
            ("a_b", "a _ b"),
        ] {
            let event = Event {
                reason: reason.to_owned(),
                ..Event::default()
            };
            assert_eq!(name_and_description(&event).1, want, "{reason}");
        }
    }
}
