//! Webex (NC-WEBEX rows).

use serde_json::{Map, Value};
use std::fmt::Write as _;

use super::address::checked;
use super::send::Call;
use super::settings::{ConfigError, Settings};
use super::text::heading;
use crate::event::Event;

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    checked(settings, "Webex hook URL")?;
    let emoji = if event.is_error() { "💣" } else { "✅" };
    // NC-WEBEX-002
    let mut markdown = format!("{emoji} **{}**\n{}\n", heading(event), event.message);
    for (key, value) in &event.metadata {
        let _ = writeln!(markdown, ">**{key}**: {value}");
    }
    let mut message = Map::new();
    if !settings.channel.is_empty() {
        message.insert("roomId".to_owned(), Value::from(&*settings.channel));
    }
    message.insert("markdown".to_owned(), Value::from(markdown));
    let bearer = format!("Bearer {}", settings.header_token());
    Ok(vec![
        Call::post(&settings.address, &message).header("Authorization", bearer),
    ])
}
