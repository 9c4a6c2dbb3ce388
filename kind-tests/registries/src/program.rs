//! The registry program: built once per content of its sources, and run.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sha2::{Digest as _, Sha256};

/// A running registry; stopped on drop.
pub(crate) struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    pub(crate) fn start(arguments: &[String]) -> Self {
        let binary = build();
        let mut child = Command::new(&binary)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()));
        let mut line = String::new();
        let output = child.stdout.take().expect("standard output is piped");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the registry prints its address");
        let address = line.trim().parse().expect("an address");
        Self { child, address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It ends when its input does; a process that hangs is killed.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    variable("FLUX_TEST_CACHE")
        .map(PathBuf::from)
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| PathBuf::from(folder).join("flux-rs")))
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache/flux-rs")))
        .expect("a cache folder: set FLUX_TEST_CACHE or HOME")
        .join("registry")
}

fn build() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let version = Command::new("go").arg("version").output();
    let version = version.unwrap_or_else(|error| panic!("the registry needs Go: {error}"));
    let mut hasher = Sha256::new_with_prefix(&version.stdout);
    for name in ["go.mod", "go.sum", "main.go"] {
        let file = fs::read(source.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        hasher.update(&file);
    }
    let key = hex::encode(hasher.finalize());
    let folder = folder();
    fs::create_dir_all(&folder)
        .unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
    let binary = folder.join(format!("registry-{}", &key[..16]));
    // If several tests need it, one builds it.
    let lock = fs::File::create(folder.join(".lock")).expect("create a lock");
    lock.lock().expect("lock the build");
    if binary.exists() {
        return binary;
    }
    let aside = folder.join(format!(".registry-{}", std::process::id()));
    // With the flags of the Kubernetes binary's build, so that Go's library is compiled once for both.
    let output = Command::new("go")
        .args(["build", "-trimpath", "-gcflags=all=-dwarf=false", "-o"])
        .arg(&aside)
        .arg(".")
        .current_dir(source)
        .env("CGO_ENABLED", "0")
        .output()
        .unwrap_or_else(|error| panic!("cannot run go: {error}"));
    assert!(
        output.status.success(),
        "go build: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::rename(&aside, &binary).expect("keep the registry");
    binary
}
