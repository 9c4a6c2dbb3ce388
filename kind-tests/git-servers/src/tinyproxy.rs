//! tinyproxy, which closes connections after each response without announcing it.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A running tinyproxy; stopped on drop.
pub struct Tinyproxy {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Tinyproxy {
    /// Starts it on a free port of 127.0.0.1; `None` if it is not installed.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start() -> Option<Self> {
        for _ in 0..5 {
            // Another process may take the port before the program's own `bind`; then the start is retried.
            let port = {
                let probe = TcpListener::bind("127.0.0.1:0").expect("bind a port");
                probe.local_addr().expect("local address").port()
            };
            let folder = TempDir::new().expect("temporary folder");
            let config = folder.path().join("tinyproxy.conf");
            let log = folder.path().join("log");
            let text = format!(
                "Port {port}\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\nLogFile \"{}\"\n",
                log.display()
            );
            std::fs::write(&config, text).expect("write the configuration");
            let mut child = Command::new("tinyproxy")
                .args(["-d", "-c"])
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()?;
            loop {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(Self {
                        child,
                        port,
                        _folder: folder,
                    });
                }
                if child.try_wait().expect("look at tinyproxy").is_some() {
                    break;
                }
                std::thread::yield_now();
            }
        }
        panic!("tinyproxy does not start");
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
