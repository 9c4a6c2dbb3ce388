//! Mastodon (NC-MASTODON rows).

use serde_json::json;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

use super::address::{checked, text};
use super::send::Call;
use super::settings::{ConfigError, Settings};
use super::text::{cut, emoji, heading};
use crate::event::Event;

/// The longest post, in characters (NC-MASTODON-002).
const MAX_POST: usize = 500;

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    let mut url = checked(settings, "Mastodon instance URL")?;
    let token = settings.header_token();
    if token.is_empty() {
        return Err(ConfigError::invalid("empty Mastodon access token"));
    }
    // NC-MASTODON-004
    let query = url::form_urlencoded::parse(&url.query);
    let visibility = query
        .filter(|(key, _)| key == "visibility")
        .map(|(_, value)| value.into_owned())
        .next();
    let kept: Vec<(String, String)> = url::form_urlencoded::parse(&url.query)
        .into_owned()
        .filter(|(key, _)| key != "visibility")
        .collect();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(kept);
    url.query = query.finish().into_bytes();
    let path = format!("{}/api/v1/statuses", text(&url.path).trim_end_matches('/'));
    url.path = path.into_bytes();

    let mut post = format!("{} {}\n{}\n", emoji(event), heading(event), event.message);
    for (key, value) in &event.metadata {
        let _ = writeln!(post, "{key}: {value}");
    }
    let post = cut(post.trim_end(), MAX_POST);
    // NC-MASTODON-003
    let once = [
        &*event.involved_object.uid,
        &*event.reason,
        &*event.time(),
        &*post,
    ];
    let once = hex::encode(Sha256::digest(once.join("/")));
    let mut message = json!({"status": post});
    if let Some(visibility) = visibility.filter(|visibility| !visibility.is_empty()) {
        message["visibility"] = json!(visibility);
    }
    Ok(vec![
        Call::post(text(&url.text()), &message)
            .header("Authorization", format!("Bearer {token}"))
            .header("Idempotency-Key", once),
    ])
}
