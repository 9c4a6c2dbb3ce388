//! Git's smart protocol over the transports: as HTTP requests, and as a bidirectional stream.

use std::io::{Read, Write};
use std::sync::Arc;

use gix_transport::client::blocking_io::http::{Http, PostBodyDataKind};

use super::{Channel, Service};
use crate::error::Fault;
use crate::session::Session;
use crate::wire::FLUSH;

/// Requests version 2 of the protocol.
const VERSION_2: &str = "Git-Protocol: version=2";

/// Smart HTTP: each message is a request.
pub(super) struct OverHttp<H> {
    session: Arc<Session>,
    http: H,
    /// The repository's address, after the last redirect once the server has responded.
    base: String,
    service: Service,
}

impl<H: Http> OverHttp<H> {
    pub(super) fn new(session: &Arc<Session>, http: H, base: String, service: Service) -> Self {
        Self {
            session: Arc::clone(session),
            http,
            base,
            service,
        }
    }

    fn url(&self, path: &str) -> String {
        format!(
            "{}/{path}",
            self.base.strip_suffix('/').unwrap_or(&self.base)
        )
    }
}

/// The fault that the transport recorded for a failed request.
fn failed(session: &Session, error: &dyn std::fmt::Display) -> Fault {
    session
        .take_fault()
        .unwrap_or_else(|| Fault::Connection(error.to_string()))
}

impl<H: Http> Channel for OverHttp<H> {
    fn greeting(&mut self) -> Result<Box<dyn Read + '_>, Fault> {
        let url = self.url(&format!("info/refs?service={}", self.service.name()));
        let headers = match self.service {
            Service::UploadPack => &[VERSION_2][..],
            Service::ReceivePack => &[],
        };
        let answer = self.http.get(&url, &self.base, headers);
        let answer = answer.map_err(|error| failed(&self.session, &error))?;
        if let Some(base) = self.http.redirected_base_url() {
            self.base = base;
        }
        Ok(Box::new(answer.body))
    }

    fn request(&mut self, message: &[u8], is_v2: bool) -> Result<Box<dyn Read + '_>, Fault> {
        let service = self.service.name();
        let url = self.url(service);
        let content_type = format!("Content-Type: application/x-{service}-request");
        let accept = format!("Accept: application/x-{service}-result");
        let headers = [&content_type, &accept, VERSION_2];
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

/// A program on the server, with its input and output.
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
        // If the program has already exited, its last message is the better explanation; it comes with the output.
        let _ = self.writer.write_all(message);
        Ok(Box::new(&mut self.reader))
    }

    fn end(&mut self) {
        let _ = self.writer.write_all(FLUSH);
    }
}
