//! Ways to a repository.

mod algorithms;
mod http;
mod ssh;
mod tunnel;

use std::sync::Arc;

use gix_transport::client::blocking_io::Transport;

use crate::error::Fault;
use crate::remote::Remote;
use crate::session::Session;
use crate::url::Transport as Kind;

/// A transport for one conversation with the remote.
pub(crate) fn connect(
    remote: &Remote,
    session: &Arc<Session>,
) -> Result<Box<dyn Transport>, Fault> {
    match remote.url.transport() {
        Kind::Http | Kind::Https => http::connect(remote, session),
        Kind::Ssh => ssh::connect(remote, session),
    }
}
