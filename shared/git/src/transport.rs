//! Transports to a repository.

mod algorithms;
mod http;
mod smart;
mod ssh;
mod tunnel;

use std::io::Read;
use std::sync::Arc;

use crate::error::Fault;
use crate::remote::Remote;
use crate::session::Session;
use crate::url::Transport as Kind;

/// The program on the server that a channel leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Lists references and sends objects.
    UploadPack,
    /// Receives objects and updates references. There is no version 2 of its protocol.
    ReceivePack,
}

impl Service {
    /// The program's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }
}

/// A connection to one of a remote's services, as messages and responses.
pub(crate) trait Channel {
    /// The server's first message.
    fn greeting(&mut self) -> Result<Box<dyn Read + '_>, Fault>;

    /// Sends a message of the protocol (version 2 or older), and returns the response.
    fn request(&mut self, message: &[u8], is_v2: bool) -> Result<Box<dyn Read + '_>, Fault>;

    /// Signals that no message follows.
    fn end(&mut self);
}

/// Opens a channel for one conversation with the remote.
pub(crate) fn connect(
    remote: &Remote,
    session: &Arc<Session>,
    service: Service,
) -> Result<Box<dyn Channel>, Fault> {
    match remote.url.transport() {
        Kind::Http | Kind::Https => http::connect(remote, session, service),
        Kind::Ssh => ssh::connect(remote, session, service),
    }
}

/// A channel to a server whose output is already there; what is sent to it is dropped.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn in_memory(output: impl Read + 'static) -> Box<dyn Channel> {
    Box::new(smart::OverStream::new(output, std::io::sink()))
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use tunnel::through_proxies;
