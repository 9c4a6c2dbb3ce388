//! Debian's `docker-registry`: a registry without lists of referrers, which gives all tags at once and unsorted.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use git_servers::Pair;

use crate::artifact::Artifact;
use crate::push;

/// How long it may take to start.
const START: Duration = Duration::from_mins(1);
/// The user of a registry with authentication, and the bcrypt of the password.
const USER: &str = "flux:$2a$04$Klg5OeDwerdRNO3zNJOqKOCn1dJshmCJWetGuW/Ll75fWIDX6t2f6\n";

/// A running `docker-registry`; stopped on drop.
pub struct Distribution {
    /// Serves plain HTTP without authentication.
    plain: Program,
    /// Serves the same content over HTTPS, with authentication.
    secured: Option<Program>,
    folder: PathBuf,
}

/// A running process.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Distribution {
    /// Starts it on plain HTTP without authentication; `None`, with a line that says so, if it is not installed.
    ///
    /// # Panics
    /// If it is installed and does not start.
    pub fn start() -> Option<Self> {
        Self::start_in(None)
    }

    /// Starts it on HTTPS with this certificate, for the user `flux` with the password `s3cret`; pushes go past both.
    ///
    /// # Panics
    /// As [`Distribution::start`].
    pub fn secured(pair: &Pair) -> Option<Self> {
        Self::start_in(Some(pair))
    }

    fn start_in(pair: Option<&Pair>) -> Option<Self> {
        let address = free_address();
        let folder = std::env::temp_dir().join(format!("docker-registry-{}", address.port()));
        std::fs::create_dir_all(&folder).expect("create a folder");
        let Some(plain) = start(&folder, address, "") else {
            println!("skipped: docker-registry is not installed");
            let _ = std::fs::remove_dir_all(&folder);
            return None;
        };
        let mut registry = Self {
            plain,
            secured: None,
            folder,
        };
        wait(|| push::answers(address));
        if let Some(pair) = pair {
            let file = |name: &str, content: &str| {
                let path = registry.folder.join(name);
                std::fs::write(&path, content).expect("write a file");
                path.display().to_string()
            };
            let (certificate, key) = (
                file("tls.crt", &pair.certificate),
                file("tls.key", &pair.key),
            );
            let tls = format!(", tls: {{certificate: {certificate}, key: {key}}}");
            let users = file("users", USER);
            let auth = format!("}}\nauth: {{htpasswd: {{realm: test, path: {users}}}");
            let address = free_address();
            registry.secured = start(&registry.folder, address, &format!("{tls}{auth}"));
            wait(|| TcpStream::connect(address).is_ok());
        }
        Some(registry)
    }

    fn address(&self) -> SocketAddr {
        let program = self.secured.as_ref().unwrap_or(&self.plain);
        program.address
    }

    /// The host with its port.
    pub fn host(&self) -> String {
        self.address().to_string()
    }

    /// The name of a repository, with the host.
    pub fn repository(&self, path: &str) -> String {
        format!("{}/{path}", self.address())
    }

    /// Pushes an artifact under a tag or its digest, and returns the digest of its manifest.
    pub fn push(&self, repository: &str, reference: &str, artifact: &Artifact) -> String {
        push::artifact(self.plain.address, repository, reference, artifact)
    }
}

/// Starts the program with these additional settings of its `http` block; `None` if it is not installed.
fn start(folder: &Path, address: SocketAddr, settings: &str) -> Option<Program> {
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}', secret: test{settings}}}\n",
        folder.join("storage").display()
    );
    let file = folder.join(format!("{}.yml", address.port()));
    std::fs::write(&file, config).expect("write the configuration");
    let started = Command::new("docker-registry")
        .arg("serve")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let child = started.ok()?;
    Some(Program { child, address })
}

fn free_address() -> SocketAddr {
    let port = TcpListener::bind("127.0.0.1:0").expect("bind a port");
    port.local_addr().expect("local address")
}

fn wait(answers: impl Fn() -> bool) {
    let begin = Instant::now();
    while !answers() {
        assert!(begin.elapsed() < START, "docker-registry does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        self.secured = None;
        let _ = self.plain.child.kill();
        let _ = self.plain.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
