//! One conversation with a remote: lists references and optionally fetches objects.

use std::num::NonZeroU32;
use std::sync::Arc;

use flux_budget::Claim;
use gix::hash::ObjectId;

use crate::error::Fault;
use crate::remote::Remote;
use crate::session::Session;
use crate::store::Store;
use crate::transport::{Channel, Service};
pub(crate) use crate::wire::Listed;
use crate::wire::{self, Advertisement, Fetch, PackStream, Packets, References};

/// A conversation with the remote.
pub(crate) struct Conversation<'a> {
    session: &'a Session,
    claim: Arc<Claim>,
    channel: Box<dyn Channel>,
    server: Advertisement,
}

impl<'a> Conversation<'a> {
    /// Connects and reads the server's capabilities.
    pub(crate) fn begin(remote: &Remote, session: &'a Arc<Session>) -> Result<Self, Fault> {
        session.check()?;
        let channel = crate::transport::connect(remote, session, Service::UploadPack)?;
        Self::greet(session, &remote.options.claim, channel)
    }

    /// Reads the capabilities of the server at the other end of `channel`.
    pub(crate) fn greet(
        session: &'a Session,
        claim: &Arc<Claim>,
        mut channel: Box<dyn Channel>,
    ) -> Result<Self, Fault> {
        let server = channel
            .greeting()
            .and_then(|input| Advertisement::read(&mut Packets::new(input), claim))
            .map_err(|fault| explained(session, fault))?;
        Ok(Self {
            session,
            claim: Arc::clone(claim),
            channel,
            server,
        })
    }

    /// Lists the references whose names begin with one of `prefixes`; a server of protocol version 2 sends only those.
    pub(crate) fn list(&mut self, prefixes: &[&str]) -> Result<References, Fault> {
        let Some(references) = &self.server.references else {
            let request = wire::list(&self.server, prefixes);
            return self
                .channel
                .request(&request, true)
                .and_then(|input| {
                    wire::read_references(&mut Packets::new(input), prefixes, &self.claim)
                })
                .map_err(|fault| explained(self.session, fault));
        };
        let mut wanted = References::new(&self.claim, "references");
        for listed in references.iter() {
            if prefixes.is_empty() || prefixes.iter().any(|p| listed.name.starts_with(p)) {
                wanted.push(listed.clone(), listed.name.len() + 16)?;
            }
        }
        Ok(wanted)
    }

    /// Whether the server supports protocol version 2, in which any object can be requested.
    pub(crate) fn is_v2(&self) -> bool {
        self.server.is_v2()
    }

    /// Fetches these objects and their dependencies into `store`, with `depth` commits of history or all of it.
    pub(crate) fn fetch(
        mut self,
        wants: &[ObjectId],
        depth: Option<NonZeroU32>,
        store: &Store,
    ) -> Result<(), Fault> {
        let (session, is_v2) = (self.session, self.is_v2());
        let request = Fetch { wants, depth }.encode(&self.server);
        let side_band = Fetch::has_side_band(&self.server);
        let received = self.channel.request(&request, is_v2).and_then(|input| {
            let packets = Packets::new(input);
            let mut pack = if is_v2 {
                PackStream::v2(packets)?
            } else {
                PackStream::v0(packets, side_band)?
            };
            store.receive(&mut pack, session)
        });
        received.map_err(|fault| explained(session, fault))?;
        session.check()
    }
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        if self.is_v2() && self.session.check().is_ok() {
            // A server over SSH waits for the next command; an error means that it has already exited.
            self.channel.end();
        }
    }
}

/// The transport's fault if it recorded one, otherwise the protocol's.
pub(crate) fn explained(session: &Session, fault: Fault) -> Fault {
    if let Some(fault) = session.take_fault() {
        return fault;
    }
    match session.check() {
        Err(cancelled) => cancelled,
        Ok(()) => fault,
    }
}

/// Whether the server's message means that the repository does not exist; the phrases are those of well-known hosts.
pub(crate) fn says_not_found(text: &str) -> bool {
    [
        "ERROR: Repository not found.",
        "repository does not exist.",
        "does not appear to be a git repository",
        "fatal: no such repository:",
        "ERR access denied or repository not exported:",
        "ERR Repository not found",
        "The project you were looking for could not be found",
        "Repository does not exist",
        "no such repository",
    ]
    .iter()
    .any(|phrase| text.contains(phrase))
}
