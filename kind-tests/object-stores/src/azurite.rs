//! Azurite, Microsoft's emulator of Azure Blob Storage, which checks signatures.

use std::net::SocketAddr;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, Method, StatusCode};
use sha2::Sha256;
use tempfile::TempDir;

use crate::program::{Program, address, installed, ports};

/// The account of the tests, whose name is the first part of the address: the name of an account is that of its host.
const ACCOUNT: &str = "127";
/// Its key.
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A running Azurite; stopped on drop.
pub struct Azurite {
    _program: Program,
    address: SocketAddr,
    scheme: &'static str,
    client: Client,
}

impl Azurite {
    /// The name of its account.
    pub const ACCOUNT: &'static str = ACCOUNT;
    /// The key of its account.
    pub const KEY: &'static str = KEY;

    /// Starts it on a free port; `None` if it is not installed.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start() -> Option<Self> {
        Self::start_with("http", &[])
    }

    /// Starts it with a certificate and its key, so that it takes the tokens of Entra ID, whose signatures it does not check.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_with_tokens(certificate: &str, key: &str) -> Option<Self> {
        let oauth = ["--oauth".to_owned(), "basic".to_owned()];
        Self::start_with(
            "https",
            &[
                &oauth[..],
                &["--cert".to_owned(), certificate.to_owned()],
                &["--key".to_owned(), key.to_owned()],
            ]
            .concat(),
        )
    }

    fn start_with(scheme: &'static str, more: &[String]) -> Option<Self> {
        let binary = installed("azurite-blob")?;
        let folder = TempDir::new().expect("temporary folder");
        let [port] = ports();
        let mut arguments = vec![
            "--inMemoryPersistence".to_owned(),
            "--disableTelemetry".to_owned(),
            "--blobHost".to_owned(),
            "127.0.0.1".to_owned(),
            "--blobPort".to_owned(),
            port.to_string(),
        ];
        arguments.extend_from_slice(more);
        let program = Program::start_with(
            &binary,
            folder,
            &arguments,
            &[("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"))],
            port,
        );
        Some(Self {
            _program: program,
            address: address(port),
            scheme,
            client: crate::program::client_of_any(),
        })
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a container.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn make_container(&self, container: &str) {
        let status = self
            .send(Method::PUT, container, &[("restype", "container")], &[])
            .await;
        assert_eq!(status, StatusCode::CREATED, "PUT {container}");
    }

    /// Puts a blob, whose name is written as in a URL.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn put(&self, container: &str, name: &str, content: impl AsRef<[u8]>) {
        let path = format!("{container}/{name}");
        let status = self.send(Method::PUT, &path, &[], content.as_ref()).await;
        assert_eq!(status, StatusCode::CREATED, "PUT {path}");
    }

    /// Deletes a blob.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn delete(&self, container: &str, name: &str) {
        let path = format!("{container}/{name}");
        let status = self.send(Method::DELETE, &path, &[], &[]).await;
        assert_eq!(status, StatusCode::ACCEPTED, "DELETE {path}");
    }

    /// A SAS token with which the blobs of a container can be listed and read.
    pub fn sas(container: &str) -> String {
        let (version, expiry) = ("2020-10-02", "2099-01-01T00:00:00Z");
        let fields = [
            "rl", // permissions
            "",   // start
            expiry,
            &format!("/blob/{ACCOUNT}/{container}"),
            "", // identifier
            "", // addresses
            "", // protocol
            version,
            "c", // a container
            "",
            "",
            "",
            "",
            "",
            "",
        ];
        let signature = signature(&fields.join("\n"));
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("sv", version)
            .append_pair("sr", "c")
            .append_pair("sp", "rl")
            .append_pair("se", expiry)
            .append_pair("sig", &signature)
            .finish();
        format!("?{query}")
    }

    /// Sends a request with the key of the account. Written apart from the code under test, so that the two must agree.
    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        content: &[u8],
    ) -> StatusCode {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let length = match content.len() {
            0 => String::new(),
            length => length.to_string(),
        };
        let is_blob = method == Method::PUT && query.is_empty();
        let kind = if is_blob {
            "x-ms-blob-type:BlockBlob\n"
        } else {
            ""
        };
        let query_lines: String = query
            .iter()
            .map(|(name, value)| format!("\n{name}:{value}"))
            .collect();
        let text = format!(
            "{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n{kind}x-ms-date:{date}\nx-ms-version:2020-10-02\n/{ACCOUNT}/{ACCOUNT}/{path}{query_lines}"
        );
        let pairs: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let url = format!(
            "{}://{}/{ACCOUNT}/{path}?{}",
            self.scheme,
            self.address,
            pairs.join("&")
        );
        let mut request = self
            .client
            .request(method, url)
            .header("x-ms-date", date)
            .header("x-ms-version", "2020-10-02")
            .header(
                "authorization",
                format!("SharedKey {ACCOUNT}:{}", signature(&text)),
            )
            .body(content.to_owned());
        if is_blob {
            request = request.header("x-ms-blob-type", "BlockBlob");
        }
        request.send().await.expect("Azurite answers").status()
    }
}

fn signature(text: &str) -> String {
    let key = STANDARD.decode(KEY).expect("a key");
    let mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
    STANDARD.encode(mac.chain_update(text).finalize().into_bytes())
}
