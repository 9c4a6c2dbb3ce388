//! A service of Git over SSH, on russh.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use flux_errors::chain;
use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{AlgorithmKind, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, MethodKind};

use super::Service;
use crate::error::Fault;
use crate::known_hosts::KnownHosts;
use crate::remote::Remote;
use crate::session::Session;

/// The maximum bytes of the server's error stream that are kept.
const MAX_SPEECH: usize = 16 * 1024;
/// The maximum bytes of output that are kept while the command's input is written.
const MAX_AHEAD: usize = 1 << 20;

pub(super) fn connect(
    remote: &Remote,
    session: &Arc<Session>,
    service: Service,
) -> Result<Box<dyn super::Channel>, Fault> {
    let (handle, read, write) = session.block_on(open(remote, service))??;
    let output = Arc::new(Mutex::new(Output {
        service,
        channel: read,
        pieces: VecDeque::new(),
        waiting: 0,
        over: false,
        said: Vec::new(),
    }));
    let reader = Reader {
        session: Arc::clone(session),
        output: Arc::clone(&output),
        piece: Bytes::new(),
        over: false,
        spoke: false,
    };
    let writer = Writer {
        session: Arc::clone(session),
        channel: write,
        output,
        _connection: handle,
    };
    Ok(Box::new(super::smart::OverStream::new(reader, writer)))
}

type Opened = (Handle<HostCheck>, ChannelReadHalf, ChannelWriteHalf<Msg>);

/// Connects, checks the host key, authenticates, and starts the command.
async fn open(remote: &Remote, service: Service) -> Result<Opened, Fault> {
    let settings = |error: &dyn std::error::Error| Fault::SshSettings(chain(error));
    let (host, port) = (remote.url.host().to_owned(), remote.url.port());
    let key = crate::ssh_key::parse(&remote.auth.identity, Some(&remote.auth.password));
    let key = key.map_err(|error| settings(&error))?;
    let known_hosts =
        KnownHosts::parse(&remote.auth.known_hosts).map_err(|error| settings(&error))?;
    let config = client::Config {
        preferred: super::algorithms::preferred(remote, &known_hosts, &host, port)?,
        nodelay: true,
        ..client::Config::default()
    };
    let limit = remote.options.connect_timeout;
    let connect = super::tunnel::connect(&remote.options.proxy, &host, port, limit);
    // Twice the limit: the connection itself observes it internally, and a proxy responds after that.
    let stream = tokio::time::timeout(limit * 2, connect)
        .await
        .map_err(|_| Fault::Connection(format!("dial tcp {host}:{port}: i/o timeout")))??;

    let refusal = Arc::new(Mutex::new(None));
    let check = HostCheck {
        known_hosts,
        host,
        port,
        refusal: Arc::clone(&refusal),
    };
    let connected = tokio::time::timeout(
        remote.options.connect_timeout,
        client::connect_stream(Arc::new(config), stream, check),
    );
    let mut handle = connected
        .await
        .map_err(|_| Fault::SshHandshake("i/o timeout".to_owned()))?
        .map_err(|error| {
            let refused = refusal
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            Fault::SshHandshake(refused.unwrap_or_else(|| describe(&error)))
        })?;

    log_in(&mut handle, &remote.auth.username, key).await?;
    let broken = |error: &russh::Error| Fault::Connection(format!("ssh: {}", describe(error)));
    let channel = handle
        .channel_open_session()
        .await
        .map_err(|error| broken(&error))?;
    if service == Service::UploadPack {
        // A server that rejects the variable uses an older protocol version.
        channel
            .set_env(false, "GIT_PROTOCOL", "version=2")
            .await
            .map_err(|error| broken(&error))?;
    }
    let command = format!("{} {}", service.name(), quote(remote.url.path()));
    channel
        .exec(true, command)
        .await
        .map_err(|error| broken(&error))?;
    let (read, write) = channel.split();
    Ok((handle, read, write))
}

/// Authenticates with the key; an RSA key signs with one hash after another until one is accepted.
async fn log_in(handle: &mut Handle<HostCheck>, user: &str, key: PrivateKey) -> Result<(), Fault> {
    let broken = |error: &russh::Error| Fault::SshHandshake(describe(error));
    let kind = key.algorithm();
    let announced = match kind {
        Algorithm::Rsa { .. } => handle
            .best_supported_rsa_hash()
            .await
            .map_err(|error| broken(&error))?,
        _ => None,
    };
    let key = Arc::new(key);
    for hash in super::algorithms::user_key_hashes(&kind, announced) {
        let signing = PrivateKeyWithHashAlg::new(Arc::clone(&key), hash);
        let answer = handle.authenticate_publickey(user, signing).await;
        match answer.map_err(|error| broken(&error))? {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure {
                remaining_methods,
                partial_success,
            } => {
                // The key was accepted but does not suffice, or no key will be accepted: another hash does not help.
                if partial_success || !remaining_methods.contains(&MethodKind::PublicKey) {
                    break;
                }
            }
        }
    }
    Err(Fault::SshHandshake(
        "ssh: unable to authenticate, attempted methods [none publickey], no supported methods remain"
            .to_owned(),
    ))
}

/// Quotes a word for the server's shell.
fn quote(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''").replace('!', r"'\!'"))
}

/// russh's errors with the texts of Go's SSH where it has any.
fn describe(error: &russh::Error) -> String {
    match error {
        russh::Error::NoCommonAlgo { kind, ours, theirs } => format!(
            "ssh: no common algorithm for {}; we offered: [{}], peer offered: [{}]",
            algorithm_kind(kind),
            ours.join(" "),
            theirs.join(" ")
        ),
        russh::Error::IO(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            format!("read tcp: read: {}", flux_http::system_text(error))
        }
        // The server closed the connection, seen from either end of russh's queues.
        russh::Error::IO(_)
        | russh::Error::HUP
        | russh::Error::Disconnect
        | russh::Error::SendError
        | russh::Error::RecvError => "EOF".to_owned(),
        russh::Error::WrongServerSig => "ssh: invalid signature by the host key".to_owned(),
        russh::Error::Version => "ssh: the server does not speak SSH version 2".to_owned(),
        russh::Error::PacketAuth | russh::Error::DecryptionError => "ssh: MAC failure".to_owned(),
        other => format!("ssh: {}", chain(other).to_lowercase()),
    }
}

/// Go's names for what is negotiated.
fn algorithm_kind(kind: &AlgorithmKind) -> &'static str {
    match kind {
        AlgorithmKind::Kex => "key exchange",
        AlgorithmKind::Key => "host key",
        AlgorithmKind::Cipher => "client to server cipher",
        AlgorithmKind::Mac => "client to server MAC",
        AlgorithmKind::Compression => "client to server compression",
    }
}

/// Checks the host key, and keeps the reason of a rejection for the error.
struct HostCheck {
    known_hosts: KnownHosts,
    host: String,
    port: u16,
    refusal: Arc<Mutex<Option<String>>>,
}

impl client::Handler for HostCheck {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let checked = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.known_hosts.check(&self.host, self.port, key)
            }
            PublicKeyOrCertificate::Certificate(certificate) => {
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |now| now.as_secs());
                self.known_hosts
                    .check_certificate(&self.host, self.port, certificate, now)
            }
        };
        if let Err(refusal) = checked {
            *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(refusal.to_string());
            return Ok(false);
        }
        Ok(true)
    }
}

/// The command's output, which is also received while its input is written: a command that stops reading its input would
/// otherwise be waited for until the deadline.
struct Output {
    service: Service,
    channel: ChannelReadHalf,
    /// What was received and not read yet.
    pieces: VecDeque<Bytes>,
    /// The bytes of `pieces`.
    waiting: usize,
    /// Whether the command has ended.
    over: bool,
    /// What the command wrote to its error stream.
    said: Vec<u8>,
}

impl Output {
    /// Receives one message. Cancelling it loses nothing.
    async fn receive(&mut self, session: &Session) -> Result<(), Fault> {
        match self.channel.wait().await {
            Some(ChannelMsg::Data { data }) => {
                session.count(data.len())?;
                if !data.is_empty() {
                    self.waiting += data.len();
                    self.pieces.push_back(Bytes::copy_from_slice(&data));
                }
            }
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                let room = MAX_SPEECH.saturating_sub(self.said.len()).min(data.len());
                self.said.extend_from_slice(&data[..room]);
            }
            Some(ChannelMsg::Failure) => {
                return Err(Fault::Connection(format!(
                    "ssh: the server does not run {}",
                    self.service.name()
                )));
            }
            // The end of the output is followed by the exit status and the last messages.
            Some(ChannelMsg::Close) | None => self.over = true,
            Some(_) => {}
        }
        Ok(())
    }

    /// The next piece of the output; empty at its end.
    async fn next_piece(&mut self, session: &Session) -> Result<Bytes, Fault> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                self.waiting -= piece.len();
                return Ok(piece);
            }
            if self.over {
                return Ok(Bytes::new());
            }
            self.receive(session).await?;
        }
    }

    /// The server closed without a Git response: its error stream has the reason.
    fn explain(&self) -> Option<Fault> {
        let said = String::from_utf8_lossy(&self.said);
        if crate::protocol::says_not_found(&said) {
            return Some(Fault::RepositoryNotFound(String::new()));
        }
        let said = said.trim();
        (!said.is_empty()).then(|| Fault::Remote(said.to_owned()))
    }
}

/// Reads the command's output.
struct Reader {
    session: Arc<Session>,
    output: Arc<Mutex<Output>>,
    piece: Bytes,
    /// Set when the output has ended.
    over: bool,
    /// Whether the command wrote any output.
    spoke: bool,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !self.over {
            let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
            let piece = self.session.block_on(output.next_piece(&self.session));
            match piece.flatten() {
                Ok(piece) if piece.is_empty() => {
                    self.over = true;
                    if let Some(fault) = output.explain() {
                        if !self.spoke {
                            return Err(self.session.fail(fault));
                        }
                        self.session.remark(fault);
                    }
                }
                Ok(piece) => {
                    self.spoke = true;
                    self.piece = piece;
                }
                Err(fault) => return Err(self.session.fail(fault)),
            }
        }
        let read = self.piece.len().min(buffer.len());
        buffer[..read].copy_from_slice(&self.piece[..read]);
        let _ = self.piece.split_to(read);
        Ok(read)
    }
}

/// Writes the command's input.
struct Writer {
    session: Arc<Session>,
    channel: ChannelWriteHalf<Msg>,
    output: Arc<Mutex<Output>>,
    _connection: Handle<HostCheck>,
}

impl Writer {
    /// Sends the bytes; `false` if the command ends before it has taken them, since its own message is the better explanation.
    async fn send(&self, bytes: &[u8], output: &mut Output) -> Result<bool, Fault> {
        let mut sending = std::pin::pin!(self.channel.data(bytes));
        while !output.over {
            let has_room = output.waiting < MAX_AHEAD;
            tokio::select! {
                sent = &mut sending => return Ok(sent.is_ok()),
                received = output.receive(&self.session), if has_room => received?,
            }
        }
        Ok(false)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = self.session.block_on(self.send(bytes, &mut output));
        match sent.flatten() {
            Ok(true) => Ok(bytes.len()),
            Ok(false) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(fault) => Err(self.session.fail(fault)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
