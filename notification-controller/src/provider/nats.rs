//! NATS: the event as a message of a subject (NC-NATS rows). The client's side of the protocol, as far as publishing
//! needs it.

mod nkey;

use std::fmt;
use std::sync::Arc;

use flux_http::{TlsSettings, handshake_text, system_text};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use url::Url;

use self::nkey::Nkey;
use super::send::SendError;
use super::settings::{ConfigError, Settings};
use crate::event::Event;

/// The name of the client (NC-NATS-003).
const CLIENT: &str = "NATS Provider Publisher";
/// The port of servers that name none.
const PORT: u16 = 4222;
/// The longest line that is read.
const MAX_LINE: u64 = 256 << 10;

/// A message to be published.
pub(crate) struct Publication {
    servers: Vec<Server>,
    subject: String,
    payload: String,
    login: Login,
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

struct Server {
    host: String,
    port: u16,
    tls: bool,
}

/// How a client proves who it is.
enum Login {
    Anonymous,
    User(String, String),
    Nkey(Nkey),
    Credentials(String, Nkey),
}

/// What a publication says, from the settings (NC-NATS-001, NC-NATS-002).
pub(super) fn publication(settings: &Settings, event: &Event) -> Result<Publication, ConfigError> {
    if settings.address.is_empty() {
        return Err(ConfigError::invalid(
            "NATS server (address) cannot be empty",
        ));
    }
    if settings.channel.is_empty() {
        return Err(ConfigError::invalid(
            "NATS subject (channel) cannot be empty",
        ));
    }
    let servers = settings
        .address
        .split(',')
        .map(server)
        .collect::<Result<_, _>>()?;
    let seed = |text: &str| {
        let parsed = Nkey::parse(text);
        parsed.map_err(|error| ConfigError::invalid(format!("error parsing nkey seed: {error}")))
    };
    let login = if let Some(creds) = settings.nats_creds() {
        let (jwt, key) = nkey::credentials(&creds).ok_or_else(|| {
            ConfigError::invalid("error parsing credentials: no user JWT and seed")
        })?;
        Login::Credentials(jwt, seed(&key)?)
    } else if let Some(text) = settings.nats_seed() {
        Login::Nkey(seed(text.trim())?)
    } else if !settings.username.is_empty() && !settings.password.is_empty() {
        let password = settings.password.expose_text().into_owned();
        Login::User(settings.username.clone(), password)
    } else {
        Login::Anonymous
    };
    let is_subject = |text: &str| !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if !is_subject(&settings.channel) {
        return Err(ConfigError::invalid("nats: invalid subject"));
    }
    Ok(Publication {
        servers,
        subject: settings.channel.clone(),
        payload: event.to_json(),
        login,
    })
}

fn server(text: &str) -> Result<Server, ConfigError> {
    let text = text.trim();
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("nats://{text}")
    };
    let parsed = Url::parse(&with_scheme).ok();
    let host = parsed.as_ref().and_then(Url::host_str);
    match (&parsed, host) {
        (Some(url), Some(host)) if matches!(url.scheme(), "nats" | "tls") => Ok(Server {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(PORT),
            tls: url.scheme() == "tls",
        }),
        _ => Err(ConfigError::invalid("nats: invalid server address")),
    }
}

impl Publication {
    /// Connects to the first server that answers, publishes, and waits until the server has the message.
    pub(super) async fn run(self, deadline: Instant) -> Result<(), SendError> {
        let context = format!("error publishing event to subject {}: ", self.subject);
        let late = || "context deadline exceeded".to_owned();
        let mut last = "nats: no servers available for connection".to_owned();
        for server in &self.servers {
            let published = timeout_at(deadline, self.publish(server)).await;
            match published.unwrap_or_else(|_| Err(Problem::Connect(late()))) {
                Ok(()) => return Ok(()),
                Err(Problem::Publish(error)) => {
                    let text = format!("{context}error publishing message to server: {error}");
                    return Err(SendError::other(text));
                }
                Err(Problem::Connect(error)) => last = error,
            }
        }
        let text = format!("{context}error connecting to server: {last}");
        Err(SendError::other(text))
    }

    async fn publish(&self, server: &Server) -> Result<(), Problem> {
        let connect = |error: &std::io::Error| Problem::Connect(system_text(error));
        let stream = TcpStream::connect((&*server.host, server.port)).await;
        let stream = stream.map_err(|error| {
            let (host, text) = (&server.host, system_text(&error));
            Problem::Connect(format!("dial tcp {host}:{}: connect: {text}", server.port))
        })?;
        // The greeting comes before TLS, so nothing behind it is read yet.
        let mut plain = BufReader::with_capacity(1, stream);
        let greeting = line(&mut plain).await.map_err(|error| connect(&error))?;
        let info: Value = greeting
            .strip_prefix("INFO ")
            .and_then(|info| serde_json::from_str(info).ok())
            .ok_or_else(|| Problem::Connect("nats: expected INFO".to_owned()))?;
        let stream = plain.into_inner();
        if server.tls || info["tls_required"] == true {
            let config = TlsSettings::default().client_config();
            let config = config.map_err(|error| Problem::Connect(error.to_string()))?;
            let name = ServerName::try_from(server.host.clone());
            let name = name.map_err(|_| Problem::Connect("nats: invalid host name".to_owned()))?;
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let stream = connector.connect(name, stream).await;
            let stream = stream.map_err(|error| Problem::Connect(handshake_text(&error)))?;
            return self.converse(stream, &info).await;
        }
        self.converse(stream, &info).await
    }

    async fn converse<S>(&self, stream: S, info: &Value) -> Result<(), Problem>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = BufReader::new(stream);
        let hello = format!("CONNECT {}\r\nPING\r\n", self.hello(info));
        exchange(&mut stream, hello.as_bytes())
            .await
            .map_err(Problem::Connect)?;
        let mut message = format!("PUB {} {}\r\n", self.subject, self.payload.len()).into_bytes();
        message.extend_from_slice(self.payload.as_bytes());
        message.extend_from_slice(b"\r\nPING\r\n");
        exchange(&mut stream, &message)
            .await
            .map_err(Problem::Publish)
    }

    /// What the client says of itself.
    fn hello(&self, info: &Value) -> Value {
        let mut hello = json!({
            "verbose": false,
            "pedantic": false,
            "name": CLIENT,
            "lang": "rust",
            "version": env!("CARGO_PKG_VERSION"),
            "protocol": 1,
        });
        let nonce = info["nonce"].as_str().unwrap_or_default();
        match &self.login {
            Login::Anonymous => {}
            Login::User(user, password) => {
                hello["user"] = json!(user);
                hello["pass"] = json!(password);
            }
            Login::Nkey(key) => {
                hello["nkey"] = json!(key.public());
                hello["sig"] = json!(key.sign(nonce));
            }
            Login::Credentials(jwt, key) => {
                hello["jwt"] = json!(jwt);
                hello["sig"] = json!(key.sign(nonce));
            }
        }
        hello
    }
}

/// When a publication failed, and why.
enum Problem {
    Connect(String),
    Publish(String),
}

/// Writes lines that end in `PING`, and reads until the server answers it.
async fn exchange<S>(stream: &mut BufReader<S>, lines: &[u8]) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let text = |error: std::io::Error| system_text(&error);
    stream.write_all(lines).await.map_err(text)?;
    stream.flush().await.map_err(text)?;
    loop {
        let line = line(stream).await.map_err(text)?;
        match &*line {
            "PONG" => return Ok(()),
            "PING" => {
                stream.write_all(b"PONG\r\n").await.map_err(text)?;
                stream.flush().await.map_err(text)?;
            }
            other => {
                if let Some(error) = other.strip_prefix("-ERR ") {
                    return Err(format!("nats: {}", error.trim_matches('\'')));
                }
            }
        }
    }
}

/// A line without its end.
async fn line<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> std::io::Result<String> {
    let mut line = String::new();
    let read = stream.take(MAX_LINE).read_line(&mut line).await?;
    if read == 0 || !line.ends_with('\n') {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests;
