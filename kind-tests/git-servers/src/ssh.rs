//! OpenSSH's `sshd`, one process per connection.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::keys::SshKey;

const SSHD: &str = "/usr/sbin/sshd";

/// Whether `sshd` is installed.
pub fn sshd_available() -> bool {
    Path::new(SSHD).is_file()
}

/// Options of an [`SshGitServer`].
pub struct SshGitServerBuilder {
    host_keys: Vec<SshKey>,
    authorized: Vec<String>,
    extra: Vec<String>,
    certificates: Vec<String>,
    protocol_v2: bool,
}

impl SshGitServerBuilder {
    /// An authorized public key (one line of `authorized_keys`).
    pub fn authorize(mut self, public_key: &str) -> Self {
        self.authorized.push(public_key.trim().to_owned());
        self
    }

    /// A host key; without any, an Ed25519 key is generated.
    pub fn host_key(mut self, key: SshKey) -> Self {
        self.host_keys.push(key);
        self
    }

    /// A certificate for one of the host keys.
    pub fn host_certificate(mut self, certificate: &str) -> Self {
        self.certificates.push(certificate.to_owned());
        self
    }

    /// A line of `sshd_config`, for example `KexAlgorithms diffie-hellman-group14-sha256`.
    pub fn setting(mut self, line: &str) -> Self {
        self.extra.push(line.to_owned());
        self
    }

    /// Does not pass the client's request for protocol version 2 on to Git.
    pub fn without_protocol_v2(mut self) -> Self {
        self.protocol_v2 = false;
        self
    }

    /// Starts the server on a free port of 127.0.0.1.
    pub fn start(mut self) -> SshGitServer {
        assert!(
            sshd_available(),
            "{SSHD} is not installed (Debian: apt-get install openssh-server)"
        );
        if self.host_keys.is_empty() {
            self.host_keys.push(SshKey::ed25519());
        }
        let folder = TempDir::new().expect("temporary folder");
        let root = folder.path().join("repositories");
        std::fs::create_dir(&root).expect("create the root");
        let authorized = folder.path().join("authorized_keys");
        std::fs::write(&authorized, self.authorized.join("\n") + "\n").expect("write the keys");
        let log = folder.path().join("sshd.log");
        let mut config = String::new();
        let _ = writeln!(
            config,
            "AuthorizedKeysFile {}\nStrictModes no\nUsePAM no",
            authorized.display()
        );
        let _ = writeln!(
            config,
            "PidFile none\nPasswordAuthentication no\nPermitRootLogin yes\nLogLevel DEBUG1"
        );
        if self.protocol_v2 {
            let _ = writeln!(config, "AcceptEnv GIT_PROTOCOL");
        }
        for key in &self.host_keys {
            let _ = writeln!(config, "HostKey {}", key.path().display());
        }
        for (index, certificate) in self.certificates.iter().enumerate() {
            let path = folder.path().join(format!("host-{index}-cert.pub"));
            std::fs::write(&path, certificate).expect("write the certificate");
            let _ = writeln!(config, "HostCertificate {}", path.display());
        }
        for line in &self.extra {
            let _ = writeln!(config, "{line}");
        }
        let config_path = folder.path().join("sshd_config");
        std::fs::write(&config_path, config).expect("write the configuration");
        // sshd started by root requires its privilege separation folder, which containers often lack.
        let _ = std::fs::create_dir_all("/run/sshd");

        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port");
        let address = listener.local_addr().expect("local address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let log_path = log.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let child = sshd(&stream, &config_path, &log_path);
                let mut children = shared.children.lock().expect("children");
                children.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
                children.push(child);
            }
        });
        SshGitServer {
            address,
            root,
            log,
            host_keys: self.host_keys,
            state,
            thread: Some(thread),
            _folder: folder,
        }
    }
}

/// `sshd -i` serves one client on its standard input and output.
fn sshd(stream: &TcpStream, config: &Path, log: &Path) -> Child {
    let end = || Stdio::from(OwnedFd::from(stream.try_clone().expect("clone the socket")));
    Command::new(SSHD)
        .args(["-i", "-f"])
        .arg(config)
        .arg("-E")
        .arg(log)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(end())
        .stdout(end())
        .stderr(Stdio::null())
        .spawn()
        .expect("start sshd")
}

#[derive(Default)]
struct State {
    stopping: AtomicBool,
    connections: AtomicUsize,
    children: Mutex<Vec<Child>>,
}

/// A Git server over SSH; stopped on drop.
pub struct SshGitServer {
    address: SocketAddr,
    root: PathBuf,
    log: PathBuf,
    host_keys: Vec<SshKey>,
    state: Arc<State>,
    thread: Option<std::thread::JoinHandle<()>>,
    _folder: TempDir,
}

impl SshGitServer {
    /// Options for a server.
    pub fn builder() -> SshGitServerBuilder {
        SshGitServerBuilder {
            host_keys: Vec::new(),
            authorized: Vec::new(),
            extra: Vec::new(),
            certificates: Vec::new(),
            protocol_v2: true,
        }
    }

    /// The folder of its repositories.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the repository `name`; the user is the one running the test, since sshd only accepts existing users.
    pub fn url(&self, name: &str) -> String {
        let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
        format!(
            "ssh://{user}@{}{}/{name}",
            self.address,
            self.root.display()
        )
    }

    /// The host keys.
    pub fn host_keys(&self) -> &[SshKey] {
        &self.host_keys
    }

    /// `known_hosts` lines for all host keys.
    pub fn known_hosts(&self) -> String {
        let host = format!("[{}]:{}", self.address.ip(), self.address.port());
        self.host_keys.iter().fold(String::new(), |mut text, key| {
            let public = key.public();
            let mut words = public.split_whitespace();
            let _ = writeln!(
                text,
                "{host} {} {}",
                words.next().unwrap_or_default(),
                words.next().unwrap_or_default()
            );
            text
        })
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// sshd's log so far (at `DEBUG1`: includes the negotiated algorithms).
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for SshGitServer {
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Ok(mut children) = self.state.children.lock() {
            for child in children.iter_mut() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
