//! Publications on a real server.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::provider::settings::tests::settings;
use crate::provider::tests::event;

/// A key of the tests, and its public part. Both are made of the seed of 32 bytes 7.
pub(super) const SEED: &str = "SUAAOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQOBZ5FE";
pub(super) const PUBLIC: &str = "UDVEU3DD4KOFECV66VIHWEZOYX4ZKR3WV27L464SIIPOU2IUI3JCYSJF";

/// A server that ends with the test.
struct Nats {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Nats {
    /// Starts a server with these lines of configuration; `None` where it is not installed.
    async fn start(name: &str, config: &str) -> Option<Self> {
        let program = ["/usr/sbin/nats-server", "/usr/bin/nats-server"]
            .into_iter()
            .find(|path| fs::exists(path).unwrap_or_default())?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let folder = std::env::temp_dir().join(format!("flux-nats-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("nats.conf");
        fs::write(&file, format!("listen: 127.0.0.1:{port}\n{config}\n")).unwrap();
        let child = Command::new(program)
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            child,
            port,
            folder,
        };
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(server)
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A connection that has subscribed to everything, by a login.
    async fn subscriber(&self, login: &str) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut stream = BufReader::new(stream);
        assert!(line(&mut stream).await.unwrap().starts_with("INFO "));
        let hello = format!("CONNECT {{\"verbose\":false{login}}}\r\nSUB > 1\r\nPING\r\n");
        exchange(&mut stream, hello.as_bytes()).await.unwrap();
        stream
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

async fn published(url: &str, secret: &[(&str, &[u8])]) -> Result<(), String> {
    // NC-NATS-004: a proxy, at which nothing listens, is not used
    let settings = settings(
        "nats",
        &json!({"address": url, "channel": "flux.events", "proxy": "http://127.0.0.1:1"}),
        secret,
    );
    let publication = publication(&settings, &event("info"));
    let publication = publication.map_err(|error| error.to_string())?;
    publication
        .run(soon())
        .await
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn events_are_published_on_the_subject() {
    let Some(server) = Nats::start("open", "").await else {
        eprintln!("skipped: there is no nats-server");
        return;
    };
    let mut subscriber = server.subscriber("").await;
    // NC-NATS-001: the first server that answers
    let servers = format!("nats://127.0.0.1:1,{}", server.url());
    assert_eq!(published(&servers, &[]).await, Ok(()));
    // NC-NATS-003
    let text = event("info").to_json();
    assert_eq!(
        line(&mut subscriber).await.unwrap(),
        format!("MSG flux.events 1 {}", text.len())
    );
    assert_eq!(line(&mut subscriber).await.unwrap(), text);
}

#[tokio::test]
async fn clients_prove_who_they_are() {
    let users = "authorization { users: [{user: u, password: passw0rd}] }";
    let Some(server) = Nats::start("users", users).await else {
        eprintln!("skipped: there is no nats-server");
        return;
    };
    let login = ",\"user\":\"u\",\"pass\":\"passw0rd\"";
    let mut subscriber = server.subscriber(login).await;
    let good: [(&str, &[u8]); 2] = [("username", b"u"), ("password", b"passw0rd")];
    assert_eq!(published(&server.url(), &good).await, Ok(()));
    assert!(
        line(&mut subscriber)
            .await
            .unwrap()
            .starts_with("MSG flux.events ")
    );
    // NC-NATS-004: nor is a token
    assert!(
        published(&server.url(), &[("token", b"passw0rd")])
            .await
            .is_err()
    );
    // NC-NATS-002, NC-NATS-003
    let bad: [(&str, &[u8]); 2] = [("username", b"u"), ("password", b"other")];
    assert_eq!(
        published(&server.url(), &bad).await.unwrap_err(),
        "error publishing event to subject flux.events: error connecting to server: nats: Authorization Violation"
    );

    let keys = format!("authorization {{ users: [{{nkey: {PUBLIC}}}] }}");
    let Some(server) = Nats::start("keys", &keys).await else {
        return;
    };
    // NC-NATS-002
    assert_eq!(
        published(&server.url(), &[("nkey", SEED.as_bytes())]).await,
        Ok(())
    );
    assert!(published(&server.url(), &[]).await.is_err());
}

#[tokio::test]
async fn incomplete_settings_are_refused() {
    let refusal = |spec: &Value, secret: &[(&str, &[u8])]| {
        let refused = publication(&settings("nats", spec, secret), &event("info"));
        refused.unwrap_err().to_string()
    };
    // NC-NATS-001
    assert_eq!(
        refusal(&json!({}), &[]),
        "NATS server (address) cannot be empty"
    );
    let address = json!({"address": "nats://h"});
    assert_eq!(
        refusal(&address, &[]),
        "NATS subject (channel) cannot be empty"
    );
    // NC-NATS-002
    let both = json!({"address": "h", "channel": "c"});
    assert_eq!(
        refusal(&both, &[("nkey", b"no seed!")]),
        "error parsing nkey seed: nkeys: invalid encoded key"
    );
    assert!(refusal(&both, &[("creds", b"x")]).starts_with("error parsing credentials: "));
    let bad = json!({"address": "http://h", "channel": "c"});
    assert_eq!(refusal(&bad, &[]), "nats: invalid server address");
    // A line break would end the command of the protocol.
    let subject = json!({"address": "h", "channel": "a b"});
    assert_eq!(refusal(&subject, &[]), "nats: invalid subject");
    let error = published("nats://127.0.0.1:1", &[]).await.unwrap_err();
    assert_eq!(
        error,
        "error publishing event to subject flux.events: error connecting to server: dial tcp 127.0.0.1:1: connect: connection refused"
    );
}
