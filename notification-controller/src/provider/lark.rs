//! Lark (NC-LARK rows).

use serde_json::json;
use std::fmt::Write as _;

use super::address::checked_briefly;
use super::send::Call;
use super::settings::{ConfigError, Settings};
use super::text::{emoji, heading};
use crate::event::Event;

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    // Upstream's text names Slack (NC-LARK-003).
    checked_briefly(settings, "Slack hook URL")?;
    let mut content = format!("**{}**\n\n", event.message);
    for (key, value) in &event.metadata {
        let _ = writeln!(content, "{key}: {value}");
    }
    let title = format!("{} {}", emoji(event), heading(event));
    let color = if event.is_error() { "red" } else { "turquoise" };
    let message = json!({
        "msg_type": "interactive",
        "card": {
            "config": {"wide_screen_mode": true},
            "header": {"title": {"tag": "plain_text", "content": title}, "template": color},
            "elements": [{"tag": "div", "text": {"tag": "lark_md", "content": content}}],
        },
    });
    Ok(vec![Call::post(&settings.address, &message).context("")])
}
