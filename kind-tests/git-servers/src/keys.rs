//! Keys for signing and for SSH, made by the real tools.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("start the program");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An SSH key pair made by `ssh-keygen`.
#[derive(Debug)]
pub struct SshKey {
    folder: TempDir,
}

impl SshKey {
    /// An Ed25519 key without passphrase.
    pub fn ed25519() -> Self {
        Self::generate(&["-t", "ed25519"], "")
    }

    /// A key made with these arguments of `ssh-keygen` (for example `["-t", "rsa", "-b", "2048", "-m", "PEM"]`) and
    /// passphrase.
    pub fn generate(arguments: &[&str], passphrase: &str) -> Self {
        let folder = TempDir::new().expect("temporary folder");
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-N", passphrase, "-C", "flux@example.com", "-f"]);
        run(command.arg(folder.path().join("key")).args(arguments));
        Self { folder }
    }

    /// The private key's file.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    /// The private key's text.
    pub fn private(&self) -> String {
        std::fs::read_to_string(self.path()).expect("read the private key")
    }

    /// The public key as one line of `authorized_keys`.
    pub fn public(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("key.pub")).expect("read the public key")
    }

    /// The fingerprint as `SHA256:<base64>`.
    pub fn fingerprint(&self) -> String {
        let text = run(Command::new("ssh-keygen").arg("-lf").arg(self.path()));
        text.split_whitespace()
            .nth(1)
            .expect("a fingerprint")
            .to_owned()
    }

    /// Signs another public key as a certificate (`arguments` as for `ssh-keygen -s`, for example `["-h", "-I", "host",
    /// "-n", "127.0.0.1"]`) and returns the certificate's text.
    pub fn certify(&self, subject: &SshKey, arguments: &[&str]) -> String {
        let mut command = Command::new("ssh-keygen");
        command.arg("-q").arg("-s").arg(self.path()).args(arguments);
        run(command.arg(subject.folder.path().join("key.pub")));
        std::fs::read_to_string(subject.folder.path().join("key-cert.pub"))
            .expect("read the certificate")
    }
}

/// Whether `gpg` is installed.
pub fn gpg_available() -> bool {
    Command::new("gpg")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// An OpenPGP key in its own GnuPG home.
#[derive(Debug)]
pub struct PgpKey {
    home: TempDir,
    fingerprint: String,
    passphrase: String,
}

impl PgpKey {
    /// A key with this algorithm name of GnuPG (`ed25519`, `rsa3072`, `nistp256`) and expiry (`never`, `1d`,
    /// `seconds=1`).
    pub fn generate(algorithm: &str, expiry: &str) -> Self {
        Self::generate_at(algorithm, expiry, None)
    }

    /// As [`PgpKey::generate`] with a passphrase.
    pub fn locked(algorithm: &str, passphrase: &str) -> Self {
        Self::generate_with(algorithm, "never", None, passphrase)
    }

    /// As [`PgpKey::generate`] with GnuPG's clock set (`20200101T000000`), to make keys that have already expired.
    pub fn generate_at(algorithm: &str, expiry: &str, clock: Option<&str>) -> Self {
        Self::generate_with(algorithm, expiry, clock, "")
    }

    fn generate_with(algorithm: &str, expiry: &str, clock: Option<&str>, passphrase: &str) -> Self {
        let home = TempDir::new().expect("temporary folder");
        let mut key = Self {
            home,
            fingerprint: String::new(),
            passphrase: passphrase.to_owned(),
        };
        // By default a passphrase is hashed for a tenth of a second in optimized code.
        std::fs::write(key.home.path().join("gpg-agent.conf"), "s2k-count 65536\n")
            .expect("write the agent's settings");
        let mut arguments = vec!["--passphrase", passphrase];
        if let Some(clock) = clock {
            arguments.extend(["--faked-system-time", clock]);
        }
        arguments.extend([
            "--quick-generate-key",
            "Flux Test <flux@example.com>",
            algorithm,
            "sign",
            expiry,
        ]);
        key.gpg(&arguments);
        let listed = key.gpg(&["--with-colons", "--list-keys"]);
        let line = listed
            .lines()
            .find(|line| line.starts_with("fpr:"))
            .expect("a fingerprint");
        line.split(':')
            .nth(9)
            .expect("a fingerprint")
            .clone_into(&mut key.fingerprint);
        key
    }

    /// Adds a signing subkey, which GnuPG then prefers for signing.
    pub fn add_signing_subkey(&self, algorithm: &str, expiry: &str) {
        self.gpg(&[
            "--passphrase",
            &self.passphrase,
            "--quick-add-key",
            &self.fingerprint,
            algorithm,
            "sign",
            expiry,
        ]);
    }

    /// Runs `gpg` in batch mode in this key's home.
    pub fn gpg(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("gpg");
        command.env("GNUPGHOME", self.home.path()).args([
            "--batch",
            "--yes",
            "--quiet",
            "--pinentry-mode",
            "loopback",
        ]);
        run(command.args(arguments))
    }

    /// GnuPG's home folder.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The primary key's fingerprint.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The primary key's id, 16 upper-case hexadecimal digits.
    pub fn key_id(&self) -> &str {
        &self.fingerprint[self.fingerprint.len() - 16..]
    }

    /// The armored public key.
    pub fn public(&self) -> String {
        self.gpg(&["--armor", "--export", &self.fingerprint])
    }

    /// The armored private key.
    pub fn private(&self) -> String {
        self.gpg(&[
            "--passphrase",
            &self.passphrase,
            "--armor",
            "--export-secret-keys",
            &self.fingerprint,
        ])
    }

    /// The armored private subkeys, with a stub in place of the primary key.
    pub fn private_subkeys(&self) -> String {
        self.gpg(&[
            "--passphrase",
            &self.passphrase,
            "--armor",
            "--export-secret-subkeys",
            &self.fingerprint,
        ])
    }

    /// An armored detached signature of `data`, with extra arguments such as `["--digest-algo", "SHA1"]`.
    pub fn sign(&self, data: &[u8], arguments: &[&str]) -> String {
        let file = self.home.path().join("data");
        std::fs::write(&file, data).expect("write the data");
        let mut all = vec!["--armor", "--output", "-"];
        all.extend(arguments);
        let path = file.display().to_string();
        all.extend(["--detach-sign", &path]);
        self.gpg(&all)
    }
}

impl Drop for PgpKey {
    fn drop(&mut self) {
        // The agent started by gpg lives until its socket folder is gone; end it now.
        let _ = Command::new("gpgconf")
            .env("GNUPGHOME", self.home.path())
            .args(["--kill", "gpg-agent"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}
