//! Git's protocol over the transports: as requests of HTTP, and as one stream both ways.

use std::io::{Read, Write};
use std::sync::Arc;

use gix_transport::client::blocking_io::http::{Http, PostBodyDataKind};

use super::Channel;
use crate::error::Fault;
use crate::session::Session;
use crate::wire::FLUSH;

/// Asks the server for version 2 of the protocol.
const VERSION_2: &str = "Git-Protocol: version=2";

/// Smart HTTP: each message is a request.
pub(super) struct OverHttp<H> {
    session: Arc<Session>,
    http: H,
    /// The repository's address; that of the last redirect once the server has been met.
    base: String,
}

impl<H: Http> OverHttp<H> {
    pub(super) fn new(session: &Arc<Session>, http: H, base: String) -> Self {
        Self {
            session: Arc::clone(session),
            http,
            base,
        }
    }

    fn url(&self, path: &str) -> String {
        format!(
            "{}/{path}",
            self.base.strip_suffix('/').unwrap_or(&self.base)
        )
    }
}

/// The fault that the transport remembers of a failed request.
fn failed(session: &Session, error: &dyn std::fmt::Display) -> Fault {
    session
        .take_fault()
        .unwrap_or_else(|| Fault::Connection(error.to_string()))
}

impl<H: Http> Channel for OverHttp<H> {
    fn greeting(&mut self) -> Result<Box<dyn Read + '_>, Fault> {
        let url = self.url("info/refs?service=git-upload-pack");
        let answer = self.http.get(&url, &self.base, [VERSION_2]);
        let answer = answer.map_err(|error| failed(&self.session, &error))?;
        if let Some(base) = self.http.redirected_base_url() {
            self.base = base;
        }
        Ok(Box::new(answer.body))
    }

    fn request(&mut self, message: &[u8], is_v2: bool) -> Result<Box<dyn Read + '_>, Fault> {
        let url = self.url("git-upload-pack");
        let headers = [
            "Content-Type: application/x-git-upload-pack-request",
            "Accept: application/x-git-upload-pack-result",
            VERSION_2,
        ];
        let headers = &headers[..if is_v2 { 3 } else { 2 }];
        let answer = self.http.post(
            &url,
            &self.base,
            headers,
            PostBodyDataKind::BoundedAndFitsIntoMemory,
        );
        let mut answer = answer.map_err(|error| failed(&self.session, &error))?;
        answer
            .post_body
            .write_all(message)
            .map_err(|error| failed(&self.session, &error))?;
        Ok(Box::new(answer.body))
    }

    fn end(&mut self) {}
}

/// A program of the server's, its input and its output.
pub(super) struct OverStream<R, W> {
    reader: R,
    writer: W,
}

impl<R: Read, W: Write> OverStream<R, W> {
    pub(super) fn new(reader: R, writer: W) -> Self {
        Self { reader, writer }
    }
}

impl<R: Read, W: Write> Channel for OverStream<R, W> {
    fn greeting(&mut self) -> Result<Box<dyn Read + '_>, Fault> {
        Ok(Box::new(&mut self.reader))
    }

    fn request(&mut self, message: &[u8], _is_v2: bool) -> Result<Box<dyn Read + '_>, Fault> {
        // When the program has ended already, its last words are the better explanation: they come with its output.
        let _ = self.writer.write_all(message);
        Ok(Box::new(&mut self.reader))
    }

    fn end(&mut self) {
        let _ = self.writer.write_all(FLUSH);
    }
}
