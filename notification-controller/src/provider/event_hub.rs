//! Azure Event Hubs, by their HTTP interface (NC-AZUREEVENTHUB rows).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use sha2::Sha256;

use super::address::segment;
use super::send::{Call, Exchange};
use super::settings::{ConfigError, Settings};
use crate::event::Event;

/// How long a signature is valid.
const LIFE: Duration = Duration::from_mins(10);

/// Whether an address is a connection string with a key (NC-AZUREEVENTHUB-002).
pub(super) fn has_key(address: &str) -> bool {
    address.contains("SharedAccessKey")
}

/// The parts of a connection string.
struct Connection {
    host: String,
    hub: String,
    name: String,
    key: String,
}

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    let options =
        |why: &str| ConfigError::invalid(format!("invalid authentication options: {why}"));
    let address = &settings.address;
    if address.is_empty() {
        return Err(options("endpoint URL cannot be empty"));
    }
    let has_token = !settings.token.is_empty();
    let (host, hub, authorization) = if has_key(address) {
        if settings.acts_as_account {
            return Err(options(
                "serviceAccountName and SAS authentication cannot be set at the same time",
            ));
        }
        if has_token {
            return Err(options(
                "jwt token and SAS authentication cannot be set at the same time",
            ));
        }
        let connection = parse(address).map_err(|why| {
            ConfigError::invalid(format!("failed to create a eventhub using SAS: {why}"))
        })?;
        let signature = signature(&connection, SystemTime::now() + LIFE);
        (connection.host, connection.hub, signature)
    } else {
        if settings.acts_as_account && has_token {
            return Err(options(
                "serviceAccountName and jwt token authentication cannot be set at the same time",
            ));
        }
        if has_token {
            // NC-AZUREEVENTHUB-004
            tracing::error!(
                logger = "event-server",
                "warning: static JWT authentication is deprecated and will be removed in Provider v1 GA, prefer workload identity"
            );
        }
        let token = settings.cloud_or_own_token();
        (
            host_of(&settings.channel),
            address.clone(),
            format!("Bearer {token}"),
        )
    };
    let address = format!(
        "https://{host}/{}/messages?api-version=2014-01",
        segment(&hub)
    );
    let request = Exchange::new(Method::POST, address)
        .body("application/json", event.to_json())
        .header("Authorization", authorization);
    Ok(vec![Call::of(request).context("failed to send msg: ")])
}

/// The host of a namespace, in the cloud that the process is in (NC-AZUREEVENTHUB-003).
fn host_of(namespace: &str) -> String {
    if namespace.contains(".servicebus.") {
        return namespace.to_owned();
    }
    let authority = std::env::var("AZURE_AUTHORITY_HOST").unwrap_or_default();
    let suffix = if authority.contains("chinacloudapi.cn") {
        ".servicebus.chinacloudapi.cn"
    } else if authority.contains("microsoftonline.us") {
        ".servicebus.usgovcloudapi.net"
    } else {
        ".servicebus.windows.net"
    };
    format!("{namespace}{suffix}")
}

fn parse(text: &str) -> Result<Connection, &'static str> {
    let part = |name: &str| {
        let parts = text.split(';').filter_map(|part| part.split_once('='));
        let mut named = parts.filter(|(known, _)| known.trim().eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim().to_owned())
    };
    let endpoint = part("Endpoint").ok_or("the connection string has no Endpoint")?;
    let host = endpoint
        .split_once("://")
        .map_or(&*endpoint, |(_, host)| host)
        .trim_end_matches('/');
    Ok(Connection {
        host: host.to_owned(),
        hub: part("EntityPath").ok_or("the connection string has no EntityPath")?,
        name: part("SharedAccessKeyName")
            .ok_or("the connection string has no SharedAccessKeyName")?,
        key: part("SharedAccessKey").ok_or("the connection string has no SharedAccessKey")?,
    })
}

/// A shared access signature for a hub.
fn signature(connection: &Connection, until: SystemTime) -> String {
    let escape =
        |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let resource = escape(&format!("https://{}/{}", connection.host, connection.hub));
    let until = until
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let mut mac = match Hmac::<Sha256>::new_from_slice(connection.key.as_bytes()) {
        Ok(mac) => mac,
        Err(never) => unreachable!("HMAC takes keys of any length: {never}"),
    };
    mac.update(format!("{resource}\n{until}").as_bytes());
    let signature = escape(&STANDARD.encode(mac.finalize().into_bytes()));
    let name = escape(&connection.name);
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={until}&skn={name}")
}
