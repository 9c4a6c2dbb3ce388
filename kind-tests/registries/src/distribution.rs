//! Debian's `docker-registry`: a registry without lists of referrers, which gives all tags at once and unsorted.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::artifact::Artifact;
use crate::push;

/// How long it may take to start.
const START: Duration = Duration::from_mins(1);

/// A running `docker-registry` on plain HTTP without authentication; stopped on drop.
pub struct Distribution {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Distribution {
    /// Starts it; `None`, with a line that says so, if it is not installed.
    ///
    /// # Panics
    /// If it is installed and does not start.
    pub fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").expect("bind a port");
        let address = port.local_addr().expect("local address");
        drop(port);
        let folder = std::env::temp_dir().join(format!("docker-registry-{}", address.port()));
        std::fs::create_dir_all(&folder).expect("create a folder");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}', secret: test}}\n",
            folder.join("storage").display()
        );
        let file = folder.join("config.yml");
        std::fs::write(&file, config).expect("write the configuration");
        let started = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = started else {
            println!("skipped: docker-registry is not installed");
            let _ = std::fs::remove_dir_all(&folder);
            return None;
        };
        let registry = Self {
            child,
            address,
            folder,
        };
        let begin = Instant::now();
        while !push::answers(address) {
            assert!(begin.elapsed() < START, "docker-registry does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    /// The name of a repository, with the host.
    pub fn repository(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    /// Pushes an artifact under a tag or its digest, and returns the digest of its manifest.
    pub fn push(&self, repository: &str, reference: &str, artifact: &Artifact) -> String {
        push::artifact(self.address, repository, reference, artifact)
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
