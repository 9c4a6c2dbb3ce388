//! `git-upload-pack` over SSH, on russh.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use gix_transport::Protocol;
use gix_transport::client::blocking_io::Transport;
use gix_transport::client::git::{ConnectMode, blocking_io::Connection};
use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::{Algorithm, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Preferred, kex};

use crate::error::{Fault, chain};
use crate::known_hosts::{KnownHosts, certificate_algorithms};
use crate::remote::Remote;
use crate::session::Session;

/// How much of what the server says on its error stream is kept.
const MAX_SPEECH: usize = 16 * 1024;

pub(super) fn connect(
    remote: &Remote,
    session: &Arc<Session>,
) -> Result<Box<dyn Transport>, Fault> {
    let (handle, read, write) = session.block_on(open(remote))??;
    let reader = Reader {
        session: Arc::clone(session),
        channel: read,
        piece: Bytes::new(),
        over: false,
        spoke: false,
        said: Vec::new(),
    };
    let writer = Writer {
        session: Arc::clone(session),
        channel: write,
        _connection: handle,
    };
    Ok(Box::new(Connection::new(
        reader,
        writer,
        Protocol::V2,
        remote.url.path().to_owned(),
        None::<(String, Option<u16>)>,
        ConnectMode::Process,
        false,
    )))
}

type Opened = (Handle<HostCheck>, ChannelReadHalf, ChannelWriteHalf<Msg>);

/// Connects, checks the host, logs in, and starts the command.
async fn open(remote: &Remote) -> Result<Opened, Fault> {
    let settings = |error: &dyn std::error::Error| Fault::SshSettings(chain(error));
    let (host, port) = (remote.url.host().to_owned(), remote.url.port());
    let key = crate::ssh_key::parse(&remote.auth.identity, Some(&remote.auth.password));
    let key = key.map_err(|error| settings(&error))?;
    let known_hosts =
        KnownHosts::parse(&remote.auth.known_hosts).map_err(|error| settings(&error))?;
    let config = client::Config {
        preferred: preferred(remote, &known_hosts, &host, port)?,
        nodelay: true,
        ..client::Config::default()
    };
    let connect = super::tunnel::connect(&remote.options.proxy, &host, port);
    let stream = tokio::time::timeout(remote.options.connect_timeout, connect)
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

    let handshake = |error: &russh::Error| Fault::SshHandshake(describe(error));
    let hash = if matches!(key.algorithm(), Algorithm::Rsa { .. }) {
        handle
            .best_supported_rsa_hash()
            .await
            .map_err(|error| handshake(&error))?
            .flatten()
    } else {
        None
    };
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
    let logged_in = handle
        .authenticate_publickey(remote.auth.username.clone(), key)
        .await;
    match logged_in.map_err(|error| handshake(&error))? {
        AuthResult::Success => {}
        AuthResult::Failure { .. } => {
            return Err(Fault::SshHandshake(
                "ssh: unable to authenticate, attempted methods [none publickey], no supported methods remain"
                    .to_owned(),
            ));
        }
    }
    let broken = |error: &russh::Error| Fault::Connection(format!("ssh: {}", describe(error)));
    let channel = handle
        .channel_open_session()
        .await
        .map_err(|error| broken(&error))?;
    // A server that does not accept the variable speaks an older protocol version.
    channel
        .set_env(false, "GIT_PROTOCOL", "version=2")
        .await
        .map_err(|error| broken(&error))?;
    let command = format!("git-upload-pack {}", quote(remote.url.path()));
    channel
        .exec(true, command)
        .await
        .map_err(|error| broken(&error))?;
    let (read, write) = channel.split();
    Ok((handle, read, write))
}

/// One word for the server's shell.
fn quote(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''").replace('!', r"'\!'"))
}

/// russh's errors in the words of Go's SSH where there are such.
fn describe(error: &russh::Error) -> String {
    match error {
        russh::Error::NoCommonAlgo { kind, ours, theirs } => format!(
            "ssh: no common algorithm for {}; we offered: [{}], peer offered: [{}]",
            format!("{kind:?}").to_lowercase(),
            ours.join(" "),
            theirs.join(" ")
        ),
        other => chain(other),
    }
}

/// The algorithms to offer (RT-GIT-014).
fn preferred(
    remote: &Remote,
    known: &KnownHosts,
    host: &str,
    port: u16,
) -> Result<Preferred, Fault> {
    let ssh = &remote.options.ssh;
    let mut preferred = Preferred::DEFAULT;
    if ssh.kex.is_empty() {
        // Servers that know neither the modern curves nor the large groups still have the NIST curves.
        let mut names = preferred.kex.to_vec();
        names.splice(
            3..3,
            [
                kex::ECDH_SHA2_NISTP256,
                kex::ECDH_SHA2_NISTP384,
                kex::ECDH_SHA2_NISTP521,
            ],
        );
        preferred.kex = Cow::Owned(names);
    } else {
        // Go passes over names it does not know.
        let mut names: Vec<kex::Name> = ssh
            .kex
            .iter()
            .filter_map(|name| kex::Name::try_from(name.trim()).ok())
            .collect();
        if names.is_empty() {
            return Err(Fault::SshSettings(format!(
                "ssh: none of the key exchange algorithms [{}] is supported",
                ssh.kex.join(" ")
            )));
        }
        names.extend([
            kex::EXTENSION_SUPPORT_AS_CLIENT,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
        ]);
        preferred.kex = Cow::Owned(names);
    }
    if ssh.host_key.is_empty() {
        preferred.key = Cow::Owned(known.algorithms(host, port));
        if known.has_authority(host, port) {
            preferred.host_key_certificates = Cow::Owned(certificate_algorithms());
        }
        if preferred.key.is_empty() {
            preferred.key = Cow::Owned(certificate_algorithms());
        }
        return Ok(preferred);
    }
    let (mut plain, mut certificates) = (Vec::new(), Vec::new());
    for name in &ssh.host_key {
        let name = name.trim();
        if let Some(name) = name.strip_suffix("-cert-v01@openssh.com") {
            certificates.extend(Algorithm::new(name).ok());
        } else {
            plain.extend(
                Algorithm::new(name)
                    .ok()
                    .filter(|name| !matches!(name, Algorithm::Other(_))),
            );
        }
    }
    if plain.is_empty() && certificates.is_empty() {
        return Err(Fault::SshSettings(format!(
            "ssh: none of the host key algorithms [{}] is supported",
            ssh.host_key.join(" ")
        )));
    }
    preferred.key = Cow::Owned(plain);
    preferred.host_key_certificates = Cow::Owned(certificates);
    Ok(preferred)
}

/// Checks the host's key; what it refuses is kept for the message.
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

/// What the command prints.
struct Reader {
    session: Arc<Session>,
    channel: ChannelReadHalf,
    piece: Bytes,
    /// Set when the output has ended.
    over: bool,
    /// Whether the command printed anything.
    spoke: bool,
    said: Vec<u8>,
}

impl Reader {
    fn next_piece(&mut self) -> Result<Bytes, Fault> {
        loop {
            let message = self.session.block_on(self.channel.wait())?;
            match message {
                Some(ChannelMsg::Data { data }) => {
                    self.session.count(data.len())?;
                    if !data.is_empty() {
                        return Ok(Bytes::copy_from_slice(&data));
                    }
                }
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    let room = MAX_SPEECH.saturating_sub(self.said.len()).min(data.len());
                    self.said.extend_from_slice(&data[..room]);
                }
                Some(ChannelMsg::Failure) => {
                    return Err(Fault::Connection(
                        "ssh: the server does not run git-upload-pack".to_owned(),
                    ));
                }
                // The end of the output is followed by the exit status and what was said last.
                Some(ChannelMsg::Close) | None => return Ok(Bytes::new()),
                Some(_) => {}
            }
        }
    }

    /// The server closed without saying anything of Git's protocol: its error stream tells why.
    fn explain(&self) -> Option<Fault> {
        let said = String::from_utf8_lossy(&self.said);
        if crate::protocol::says_not_found(&said) {
            return Some(Fault::RepositoryNotFound(String::new()));
        }
        let said = said.trim();
        (!said.is_empty()).then(|| Fault::Remote(said.to_owned()))
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !self.over {
            match self.next_piece() {
                Ok(piece) if piece.is_empty() => {
                    self.over = true;
                    if !self.spoke
                        && let Some(fault) = self.explain()
                    {
                        return Err(self.session.fail(fault));
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

/// What the command reads.
struct Writer {
    session: Arc<Session>,
    channel: ChannelWriteHalf<Msg>,
    _connection: Handle<HostCheck>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self
            .session
            .block_on(self.channel.data(bytes))
            .map_err(|fault| self.session.fail(fault))?;
        // When the command has ended already, what it said is the better explanation.
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
