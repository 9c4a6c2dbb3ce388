//! Matrix (NC-MATRIX rows).

use http::Method;
use serde_json::json;
use sha1::{Digest, Sha1};
use std::fmt::Write as _;

use super::address::checked;
use super::send::{Call, Exchange};
use super::settings::{ConfigError, Settings};
use super::text::{emoji, heading};
use crate::event::Event;

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    checked(settings, "Matrix homeserver URL")?;
    let transaction = hex::encode(Sha1::digest(event.to_json()));
    let address = format!(
        "{}/_matrix/client/r0/rooms/{}/send/m.room.message/{transaction}",
        settings.address, settings.channel
    );
    let mut text = format!("{} {}\n{}\n", emoji(event), heading(event), event.message);
    for (key, value) in &event.metadata {
        let _ = writeln!(text, "- {key}: {value}");
    }
    let request = Exchange::new(Method::PUT, address)
        .json(&json!({"body": text, "msgtype": "m.text"}))
        .bearer(&settings.header_token());
    Ok(vec![Call::of(request)])
}
