//! SeaweedFS, which speaks the protocol of S3 and checks its signatures.

use std::net::SocketAddr;
use std::time::SystemTime;

use flux_cloud::aws::{Credentials, Payload, Scope, sign};
use flux_http::Secret;
use reqwest::{Client, Method, Request, StatusCode};
use serde_json::json;
use tempfile::TempDir;

use crate::program::{Program, address, installed, ports};

/// The access key of the tests.
pub const ACCESS_KEY: &str = "flux";
/// Its secret.
pub const SECRET_KEY: &str = "s3cret-key";

/// A running SeaweedFS; stopped on drop. Everyone may read the bucket `public`, the rest needs [`ACCESS_KEY`].
pub struct Seaweed {
    _program: Program,
    address: SocketAddr,
    client: Client,
}

impl Seaweed {
    /// Starts it on free ports; `None` if it is not installed.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start() -> Option<Self> {
        let binary = installed("weed")?;
        let folder = TempDir::new().expect("temporary folder");
        let everything = ["Admin", "Read", "Write", "List", "Tagging"];
        let identities = json!({"identities": [
            {"name": "flux", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], "actions": everything},
            {"name": "anonymous", "actions": ["Read:public", "List:public"]},
        ]});
        let config = folder.path().join("s3.json");
        std::fs::write(&config, identities.to_string()).expect("write the configuration");
        let [master, volume, filer, s3, admin] = ports();
        let arguments = [
            "mini".to_owned(),
            format!("-dir={}", folder.path().display()),
            "-ip=127.0.0.1".to_owned(),
            "-ip.bind=127.0.0.1".to_owned(),
            format!("-master.port={master}"),
            format!("-volume.port={volume}"),
            format!("-filer.port={filer}"),
            format!("-s3.port={s3}"),
            format!("-s3.config={}", config.display()),
            format!("-admin.port={admin}"),
            "-webdav=false".to_owned(),
            "-admin.ui=false".to_owned(),
            "-s3.port.iceberg=0".to_owned(),
            "-s3.port.lance=0".to_owned(),
        ];
        let program = Program::start(&binary, folder, &arguments, s3);
        Some(Self {
            _program: program,
            address: address(s3),
            client: crate::program::client(),
        })
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a bucket. The first one waits until the parts of the store know of one another.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn make_bucket(&self, bucket: &str) {
        for _ in 0..900 {
            if self.send(Method::PUT, &format!("{bucket}/"), b"").await == StatusCode::OK
                && self
                    .send(Method::PUT, &format!("{bucket}/probe"), b"x")
                    .await
                    == StatusCode::OK
            {
                self.delete(bucket, "probe").await;
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("cannot make the bucket {bucket}");
    }

    /// Puts an object, whose key is written as in a URL.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn put(&self, bucket: &str, key: &str, content: impl AsRef<[u8]>) {
        let path = format!("{bucket}/{key}");
        let status = self.send(Method::PUT, &path, content.as_ref()).await;
        assert_eq!(status, StatusCode::OK, "PUT {path}");
    }

    /// Deletes an object.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn delete(&self, bucket: &str, key: &str) {
        let path = format!("{bucket}/{key}");
        let status = self.send(Method::DELETE, &path, b"").await;
        assert_eq!(status, StatusCode::NO_CONTENT, "DELETE {path}");
    }

    async fn send(&self, method: Method, path: &str, content: &[u8]) -> StatusCode {
        let url = format!("http://{}/{path}", self.address);
        let mut request = Request::new(method, url.parse().expect("a URL"));
        let keys = Credentials {
            access_key_id: ACCESS_KEY.to_owned(),
            secret_access_key: Secret::new(SECRET_KEY),
            session_token: None,
            expires: None,
        };
        let scope = Scope {
            region: "us-east-1",
            service: "s3",
            time: SystemTime::now(),
        };
        sign(&mut request, &keys, &scope, Payload::Bytes(content)).expect("sign");
        *request.body_mut() = Some(content.to_owned().into());
        let response = self.client.execute(request).await;
        response.map_or(StatusCode::BAD_GATEWAY, |response| response.status())
    }
}
