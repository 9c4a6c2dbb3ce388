//! Certificates made by OpenSSL, and servers that present them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Runs OpenSSL, which must succeed.
fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("run openssl");
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Made {
    pub(crate) fn pem(&self) -> String {
        std::fs::read_to_string(&self.certificate).expect("read the certificate")
    }

    pub(crate) fn key_pem(&self) -> String {
        std::fs::read_to_string(&self.key).expect("read the key")
    }
}

/// How to make a certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe<'a> {
    /// `rsa:BITS`, `ec:CURVE` or `ed25519`.
    pub(crate) key: &'a str,
    /// Lines of an extension section; without any the certificate has version 1.
    pub(crate) extensions: &'a str,
    /// Further arguments of `openssl x509`.
    pub(crate) arguments: &'a [&'a str],
    pub(crate) days: i32,
}

impl Default for Recipe<'_> {
    fn default() -> Self {
        Self {
            key: "ec:P-256",
            extensions: SERVER,
            arguments: &[],
            days: 30,
        }
    }
}

/// Extensions of an ordinary server.
pub(crate) const SERVER: &str =
    "basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n";
/// Extensions of an ordinary authority.
pub(crate) const AUTHORITY: &str =
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n";

/// A folder for certificates.
pub(crate) struct Workshop {
    folder: TempDir,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        Self {
            folder: TempDir::new().expect("temporary folder"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a certificate with the common name `name`, signed by `issuer` or by itself.
    pub(crate) fn make(&self, name: &str, recipe: &Recipe<'_>, issuer: Option<&Made>) -> Made {
        let text = |path: &Path| path.display().to_string();
        let (key, request) = (
            self.path(&format!("{name}.key")),
            self.path(&format!("{name}.csr")),
        );
        let certificate = self.path(&format!("{name}.pem"));
        let (kind, parameter) = recipe.key.split_once(':').unwrap_or((recipe.key, ""));
        let option = match kind {
            "rsa" => format!("rsa_keygen_bits:{parameter}"),
            "ec" => format!("ec_paramgen_curve:{parameter}"),
            _ => String::new(),
        };
        let key_text = text(&key);
        let mut arguments = vec!["genpkey", "-algorithm", kind, "-out", &key_text];
        if !option.is_empty() {
            arguments.extend(["-pkeyopt", &option]);
        }
        openssl(&arguments);
        let subject = format!("/CN={name}");
        let request_text = text(&request);
        openssl(&[
            "req",
            "-new",
            "-key",
            &key_text,
            "-subj",
            &subject,
            "-out",
            &request_text,
        ]);
        let days = recipe.days.to_string();
        let certificate_text = text(&certificate);
        let mut arguments = vec![
            "x509",
            "-req",
            "-in",
            &request_text,
            "-days",
            &days,
            "-out",
            &certificate_text,
        ];
        let extensions = self.path(&format!("{name}.ext"));
        let extensions_text = text(&extensions);
        if !recipe.extensions.is_empty() {
            std::fs::write(&extensions, recipe.extensions).expect("write the extensions");
            arguments.extend(["-extfile", &extensions_text]);
        }
        let signer;
        if let Some(issuer) = issuer {
            signer = (text(&issuer.certificate), text(&issuer.key));
            arguments.extend(["-CA", &signer.0, "-CAkey", &signer.1]);
            if !recipe.arguments.contains(&"-set_serial") {
                arguments.push("-CAcreateserial");
            }
        } else {
            arguments.extend(["-signkey", &key_text]);
        }
        arguments.extend(recipe.arguments);
        openssl(&arguments);
        Made { certificate, key }
    }

    /// Concatenates certificates into one PEM file.
    pub(crate) fn bundle(&self, name: &str, parts: &[&Made]) -> PathBuf {
        let path = self.path(name);
        let text: String = parts.iter().map(|part| part.pem()).collect();
        std::fs::write(&path, text).expect("write the bundle");
        path
    }
}

/// `openssl s_server`, which answers each GET with a page; stopped on drop.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Starts it with a certificate, its intermediates, and further arguments.
    pub(crate) fn start(own: &Made, chain: Option<&Path>, arguments: &[&str]) -> Self {
        // Another process may take the port before OpenSSL's `bind`; then the start is retried.
        for _ in 0..5 {
            let port = {
                let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("bind a port");
                probe.local_addr().expect("local address").port()
            };
            let mut command = Command::new("openssl");
            command
                .args(["s_server", "-www", "-quiet", "-accept"])
                .arg(format!("127.0.0.1:{port}"))
                .arg("-cert")
                .arg(&own.certificate)
                .arg("-key")
                .arg(&own.key);
            if let Some(chain) = chain {
                command.arg("-cert_chain").arg(chain);
            }
            // The tests need old certificates: OpenSSL must not refuse to serve them.
            if !arguments.contains(&"-cipher") {
                command.args(["-cipher", "DEFAULT@SECLEVEL=0"]);
            }
            let mut child = command
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("start openssl");
            loop {
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { child, port };
                }
                if child.try_wait().expect("look at openssl").is_some() {
                    break;
                }
                std::thread::yield_now();
            }
        }
        panic!("openssl s_server does not start with {own:?} {arguments:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
