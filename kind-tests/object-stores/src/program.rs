//! The programs, their ports and their processes.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// How long a program may take to start: Azurite needs seconds on a busy machine.
const START: Duration = Duration::from_mins(1);
/// SeaweedFS also listens on its ports plus this many.
const OFFSET: u16 = 10_000;
/// The highest port that has a second one above it.
const HIGHEST: u16 = 55_000;

/// A program that runs; stopped on drop.
pub(crate) struct Program {
    child: Child,
    _folder: TempDir,
}

impl Program {
    /// Runs a program in a new folder, and waits until its `port` is open.
    pub(crate) fn start<A: AsRef<OsStr>>(
        binary: &Path,
        folder: TempDir,
        arguments: &[A],
        port: u16,
    ) -> Self {
        Self::start_with(binary, folder, arguments, &[], port)
    }

    /// The same with environment variables.
    pub(crate) fn start_with<A: AsRef<OsStr>>(
        binary: &Path,
        folder: TempDir,
        arguments: &[A],
        variables: &[(&str, String)],
        port: u16,
    ) -> Self {
        let mut child = Command::new(binary)
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()));
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = child.try_wait().expect("look at the program");
            assert!(ended.is_none(), "{} ended: {ended:?}", binary.display());
            assert!(
                begin.elapsed() < START,
                "{} does not start",
                binary.display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            child,
            _folder: folder,
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of an installed program; `None`, with a line that says so, if it is not installed.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
    let mut hasher = Sha256::new();
    let files = [
        "requirements.txt",
        "package.json",
        "package-lock.json",
        "none/index.js",
        "none/package.json",
    ];
    for file in files {
        let content = std::fs::read(source.join(file));
        hasher.update(content.unwrap_or_else(|error| panic!("{file}: {error}")));
    }
    let key = hex::encode(hasher.finalize());
    let binary = cache().join("object-stores").join(&key[..16]).join(name);
    if binary.exists() {
        return Some(binary);
    }
    println!("skipped: {name} is not installed (kind-tests/object-stores/install does it)");
    None
}

fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    variable("FLUX_TEST_CACHE")
        .map(PathBuf::from)
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| PathBuf::from(folder).join("flux-rs")))
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache/flux-rs")))
        .expect("a cache folder: set FLUX_TEST_CACHE or HOME")
}

/// Free ports, each with a free one 10,000 above it.
pub(crate) fn ports<const N: usize>() -> [u16; N] {
    let mut held: Vec<(TcpListener, TcpListener)> = Vec::new();
    let mut refused = Vec::new();
    while held.len() < N {
        let own = TcpListener::bind("127.0.0.1:0").expect("bind a port");
        let port = port_of(&own);
        let above = (port < HIGHEST).then(|| TcpListener::bind(("127.0.0.1", port + OFFSET)));
        match above {
            Some(Ok(above)) => held.push((own, above)),
            _ => refused.push(own), // held, so that another one is tried
        }
        assert!(refused.len() < 1000, "no free ports");
    }
    let mut ports = [0; N];
    for (port, (own, _)) in ports.iter_mut().zip(&held) {
        *port = port_of(own);
    }
    ports
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("local address").port()
}

/// The address of a port on loopback.
pub(crate) fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The client that fills a store.
pub(crate) fn client() -> reqwest::Client {
    let options = flux_http::ClientOptions::default();
    options.build().expect("build a client")
}

/// The client that fills a store, whatever its certificate.
pub(crate) fn client_of_any() -> reqwest::Client {
    let options = flux_http::ClientOptions {
        tls: flux_http::TlsSettings {
            accept_any_server: true,
            ..flux_http::TlsSettings::default()
        },
        ..flux_http::ClientOptions::default()
    };
    options.build().expect("build a client")
}
