//! Credentials of the three clouds, from services that check each request.

mod aws;
mod azure;
mod gcp;
mod requests;

use std::time::{Duration, SystemTime};

use clouds::Clouds;
use flux_cloud::{CloudClient, Environment};
use flux_http::{Proxy, ProxyUrl, RootCertificates, Secret, TlsSettings};
use git_servers::SshKey;
use serde_json::json;

/// A client that reaches the services through their proxy, with these environment variables.
pub(crate) fn client(clouds: &Clouds, environment: &[(&str, &str)]) -> CloudClient {
    let proxy = ProxyUrl::parse(&clouds.proxy().url()).unwrap();
    trusting(clouds, &proxy.into())
        .with_environment(Environment::of_values(environment.iter().copied()))
}

pub(crate) fn trusting(clouds: &Clouds, proxy: &Proxy) -> CloudClient {
    let tls = TlsSettings {
        roots: RootCertificates::AddToSystem,
        authorities: Some(clouds.authority().pem().into_bytes()),
        ..TlsSettings::default()
    };
    CloudClient::trusting(proxy, tls).unwrap()
}

/// A token of a ServiceAccount.
pub(crate) fn token(audience: &str) -> Secret {
    let claims = json!({"aud": [audience], "sub": SUBJECT});
    Secret::new(clouds::token(&claims))
}

/// The subject of [`token`].
pub(crate) const SUBJECT: &str = "system:serviceaccount:apps:puller";

/// A file with this content, removed at the end of the test.
pub(crate) fn file(content: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, content).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// A certificate and its RSA key, as PEM.
pub(crate) fn principal() -> (String, String) {
    let key = SshKey::generate(&["-t", "rsa", "-b", "2048", "-m", "PKCS8"], "").private();
    let pair = rcgen::KeyPair::from_pem(&key).unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&pair);
    (certificate.unwrap().pem(), key)
}

/// Whether a time is about an hour away.
pub(crate) fn in_an_hour(time: SystemTime) -> bool {
    let left = time.duration_since(SystemTime::now()).unwrap_or_default();
    (Duration::from_mins(59)..=Duration::from_hours(1)).contains(&left)
}
