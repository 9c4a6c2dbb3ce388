//! Rocket.Chat (NC-ROCKET rows).

use super::address::checked;
use super::send::Call;
use super::settings::{ConfigError, Settings};
use super::slack::{Colors, message};
use crate::event::Event;

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    checked(settings, "Rocket hook URL")?;
    let colors = Colors {
        info: "#0076D7",
        error: "#FF0000",
    };
    let message = message(event, &settings.channel, &settings.username, "", colors);
    Ok(vec![Call::post(&settings.address, &message)])
}
