//! Discord, by its endpoint for Slack's messages (NC-DISCORD rows).

use super::address::{checked, text};
use super::send::Call;
use super::settings::{ConfigError, Settings};
use super::slack::{Colors, message, username};
use crate::event::Event;

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    let mut url = checked(settings, "Discord hook URL")?;
    // NC-DISCORD-001
    if !settings.address.ends_with("/slack") {
        let path = format!("{}/slack", text(&url.path).trim_end_matches('/'));
        let clean = flux_golang::path::clean(path.as_bytes());
        url.path = clean;
    }
    let colors = Colors {
        info: "good",
        error: "danger",
    };
    let message = message(event, "", username(settings, event), "", colors);
    Ok(vec![Call::post(text(&url.text()), &message)])
}
