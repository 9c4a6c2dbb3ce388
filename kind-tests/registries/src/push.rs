//! Pushes to a registry over plain HTTP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::artifact::{Artifact, digest_of};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The head of a response.
struct Answer {
    status: u16,
    head: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }
}

fn send(
    registry: SocketAddr,
    method: &str,
    path: &str,
    media_type: &str,
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(registry)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {registry}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let head = text.split("\r\n\r\n").next().unwrap_or_default().to_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Answer {
        status: status.unwrap_or_default(),
        head,
    })
}

/// Whether a registry answers at this address.
pub(crate) fn answers(registry: SocketAddr) -> bool {
    send(registry, "GET", "/v2/", "text/plain", b"").is_ok_and(|answer| answer.status == 200)
}

/// Pushes an artifact under a tag or its digest, and returns the digest of its manifest.
pub(crate) fn artifact(
    registry: SocketAddr,
    repository: &str,
    reference: &str,
    artifact: &Artifact,
) -> String {
    for content in artifact.blobs() {
        blob(registry, repository, content);
    }
    manifest(
        registry,
        repository,
        reference,
        MANIFEST,
        &artifact.manifest(),
    )
}

/// Pushes a blob.
pub(crate) fn blob(registry: SocketAddr, repository: &str, blob: &[u8]) {
    let path = format!("/v2/{repository}/blobs/uploads/");
    let begun = send(registry, "POST", &path, "text/plain", b"").expect("begin an upload");
    assert_eq!(begun.status, 202, "begin an upload: {}", begun.head);
    let location = begun.header("location").expect("a location");
    let location = location
        .strip_prefix(&format!("http://{registry}"))
        .unwrap_or(location);
    let separator = if location.contains('?') { '&' } else { '?' };
    let path = format!("{location}{separator}digest={}", digest_of(blob));
    let pushed = send(registry, "PUT", &path, "application/octet-stream", blob);
    let pushed = pushed.expect("push a blob");
    assert_eq!(pushed.status, 201, "push a blob: {}", pushed.head);
}

/// Pushes a manifest under a tag or its digest, and returns its digest.
pub(crate) fn manifest(
    registry: SocketAddr,
    repository: &str,
    reference: &str,
    media_type: &str,
    manifest: &[u8],
) -> String {
    let path = format!("/v2/{repository}/manifests/{reference}");
    let pushed = send(registry, "PUT", &path, media_type, manifest).expect("push a manifest");
    assert_eq!(pushed.status, 201, "push a manifest: {}", pushed.head);
    digest_of(manifest)
}
