//! The event itself, to any endpoint, with or without a signature (NC-GENERIC and NC-GENERIC-HMAC rows).

use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use sha2::Sha256;

use super::address::parse_request_uri;
use super::send::{Call, Exchange};
use super::settings::{ConfigError, Settings};
use crate::event::Event;

pub(super) fn plain(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    Ok(vec![Call::of(request(settings, event)?)])
}

pub(super) fn signed(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    let request = request(settings, event)?;
    // The raw token, with its line break if it has one (NC-GENERIC-HMAC-003).
    if settings.token.is_empty() {
        return Err(ConfigError::invalid("HMAC key is empty"));
    }
    let signature = signature(settings.token.expose(), &request.body);
    // NC-GENERIC-HMAC-002
    Ok(vec![Call::of(request.header("X-Signature", signature))])
}

fn request(settings: &Settings, event: &Event) -> Result<Exchange, ConfigError> {
    parse_request_uri(&settings.address).map_err(|error| {
        ConfigError::invalid(format!("invalid hook URL {}: {error}", settings.address))
    })?;
    let mut request = Exchange::new(Method::POST, &settings.address)
        .body("application/json", event.to_json())
        .header("Gotk-Component", &event.reporting_controller);
    // NC-GENERIC-003
    for (name, value) in &settings.headers {
        request = request.header(name, value);
    }
    Ok(request)
}

/// `sha256=<hex>` of a body.
fn signature(key: &[u8], body: &[u8]) -> String {
    let mut mac = match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(never) => unreachable!("HMAC takes keys of any length: {never}"),
    };
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_match_upstream() {
        // NC-GENERIC-HMAC-004
        let key = b"7152fed34dd6149a7c75a276c510da27cb6f82b0";
        let body = r#"{"involvedObject":{"kind":"GitRepository","namespace":"gitops-system","name":"webapp"},"severity":"info","timestamp":"2022-09-30T06:40:29Z","message":"message","reason":"reason","metadata":{"test":"metadata"},"reportingController":"source-controller","reportingInstance":"source-controller-xyz"}"#;
        let event = Event::decode(body.as_bytes()).unwrap();
        assert_eq!(
            signature(key, body.as_bytes()),
            "sha256=65b018549b1254e7226d1c08f9567ee45bc9de0fc4e7b1a40253f9a018b08be7"
        );
        assert_eq!(
            signature(key, event.to_json().as_bytes()),
            "sha256=2662a6dd1a887c05183aa5b9787d5ed92116199f09c7b3c7908ee3bd20bc60d9"
        );
    }
}
