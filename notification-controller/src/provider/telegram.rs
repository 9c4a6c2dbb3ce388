//! Telegram (NC-TELEGRAM rows).

use serde_json::json;
use std::fmt::Write as _;

use super::send::Call;
use super::settings::{ConfigError, Settings};
use super::text::emoji;
use crate::event::Event;

/// The characters that MarkdownV2 reserves (NC-TELEGRAM-005).
const RESERVED: &str = "\\.-_[]()~>`#+=|{}!*";

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    // NC-TELEGRAM-002
    if settings.channel.is_empty() {
        return Err(ConfigError::invalid("empty Telegram channel"));
    }
    let token = settings.header_token();
    if token.is_empty() {
        return Err(ConfigError::invalid("empty Telegram token"));
    }
    let object = &event.involved_object;
    let kind = object.kind.to_lowercase();
    let heading = format!(
        "{} {kind}/{}/{}",
        emoji(event),
        object.name,
        object.namespace
    );
    let mut text = format!("*{}*\n{}\n", escaped(&heading), escaped(&event.message));
    for (key, value) in &event.metadata {
        let _ = writeln!(text, "\\- *{}*: {}", escaped(key), escaped(value));
    }
    // NC-TELEGRAM-003
    let (chat, thread) = match settings.channel.split_once(':') {
        Some((chat, thread)) => (chat, thread),
        None => (&*settings.channel, ""),
    };
    let mut message = json!({"chat_id": chat, "text": text, "parse_mode": "MarkdownV2"});
    if !thread.is_empty() {
        message["message_thread_id"] = json!(thread);
    }
    let address = format!("https://api.telegram.org/bot{token}/sendMessage");
    Ok(vec![Call::post(address, &message).context("")])
}

/// A text with a backslash before each reserved character.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if RESERVED.contains(char) {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reserved_character_is_escaped() {
        // NC-TELEGRAM-005, FR-N-001
        for char in RESERVED.chars() {
            assert_eq!(
                escaped(&format!("a{char}{char}b")),
                format!("a\\{char}\\{char}b")
            );
        }
        assert_eq!(escaped("plain text, é:"), "plain text, é:");
    }
}
