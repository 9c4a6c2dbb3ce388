//! A bare repository, and changes to it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::keys::{PgpKey, SshKey};

/// A bare repository on disk.
#[derive(Debug, Clone)]
pub struct Repo {
    path: PathBuf,
}

impl Repo {
    /// Creates an empty bare repository `name` (may contain slashes) below `root`, with HEAD on `main`.
    pub fn init(root: &Path, name: &str) -> Self {
        Self::init_with(root, name, &[])
    }

    /// As [`Repo::init`], with further arguments of `git init`, for example `--object-format=sha256`.
    pub fn init_with(root: &Path, name: &str, arguments: &[&str]) -> Self {
        let path = root.join(name);
        std::fs::create_dir_all(&path).expect("create the repository's folder");
        let repo = Self { path };
        let mut all = vec!["init", "-q", "--bare", "-b", "main"];
        all.extend(arguments);
        repo.git(&all);
        for (key, value) in [
            ("uploadpack.allowFilter", "true"),
            ("uploadpack.allowReachableSHA1InWant", "true"),
            ("receive.denyNonFastForwards", "false"),
            ("http.receivepack", "true"),
            ("gc.auto", "0"),
        ] {
            repo.git(&["config", key, value]);
        }
        repo
    }

    /// Its path on disk.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `git ARGS` in it and returns its trimmed output.
    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_with(&[], arguments, b"")
    }

    fn git_with(&self, environment: &[(&str, &str)], arguments: &[&str], input: &[u8]) -> String {
        let mut command = git();
        command
            .arg("-C")
            .arg(&self.path)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("start git");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let output = std::thread::scope(|scope| {
            scope.spawn(move || std::io::Write::write_all(&mut stdin, input));
            child.wait_with_output().expect("wait for git")
        });
        assert!(
            output.status.success(),
            "git {arguments:?} in {}: {}",
            self.path.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Installs a hook (`pre-receive`, `update`, `post-receive`, ...): a shell script without its first line.
    pub fn hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = self.path.join("hooks");
        std::fs::create_dir_all(&folder).expect("create the hooks' folder");
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("write the hook");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
            .expect("make the hook executable");
    }

    /// What `git verify-commit --raw` says of a commit signed with this key; an empty text if it does not accept the signature.
    pub fn verify_pgp(&self, revision: &str, key: &PgpKey) -> String {
        let home = key.home().display().to_string();
        self.verify(revision, &[("GNUPGHOME", &home)], &[])
    }

    /// As [`Repo::verify_pgp`], with an SSH key as the only allowed signer.
    pub fn verify_ssh(&self, revision: &str, key: &SshKey) -> String {
        let allowed = key.path().with_extension("allowed");
        std::fs::write(&allowed, format!("flux@example.com {}", key.public()))
            .expect("write the allowed signers");
        let setting = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
        self.verify(revision, &[], &["-c", &setting])
    }

    fn verify(&self, revision: &str, environment: &[(&str, &str)], settings: &[&str]) -> String {
        let output = git()
            .args(settings)
            .arg("-C")
            .arg(&self.path)
            .args(["verify-commit", "--raw", revision])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("start git");
        if !output.status.success() {
            return String::new();
        }
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// The hexadecimal hash of the object that `revision` refers to.
    pub fn rev_parse(&self, revision: &str) -> String {
        self.git(&["rev-parse", "--verify", "-q", revision])
    }

    /// Runs `git fast-import` with this input, for objects that no git command creates.
    pub fn fast_import(&self, input: &[u8]) {
        self.git_with(&[], &["fast-import", "--quiet", "--force"], input);
    }

    /// Starts a commit on the branch `branch`; its parent is the branch's tip, if it exists.
    pub fn commit<'a>(&'a self, branch: &str) -> CommitBuilder<'a> {
        CommitBuilder {
            repo: self,
            reference: format!("refs/heads/{branch}"),
            parent: Parent::Tip,
            message: "a commit\n".to_owned(),
            when: 1_700_000_000,
            changes: Vec::new(),
            signer: Signer::None,
        }
    }

    /// Creates or moves a branch (moving it to unrelated history is a force-push).
    pub fn branch(&self, name: &str, revision: &str) {
        self.update_ref(&format!("refs/heads/{name}"), revision);
    }

    /// Removes a branch.
    pub fn delete_branch(&self, name: &str) {
        self.git(&["update-ref", "-d", &format!("refs/heads/{name}")]);
    }

    /// Creates or moves any reference, for example `refs/pull/1/head`.
    pub fn update_ref(&self, reference: &str, revision: &str) {
        self.git(&["update-ref", reference, revision]);
    }

    /// Points HEAD at the branch `name`, which need not exist.
    pub fn set_head(&self, name: &str) {
        self.git(&["symbolic-ref", "HEAD", &format!("refs/heads/{name}")]);
    }

    /// Creates or moves a lightweight tag.
    pub fn tag(&self, name: &str, revision: &str) {
        self.update_ref(&format!("refs/tags/{name}"), revision);
    }

    /// Starts an annotated tag.
    pub fn annotated_tag<'a>(&'a self, name: &str, revision: &str) -> TagBuilder<'a> {
        TagBuilder {
            repo: self,
            name: name.to_owned(),
            revision: revision.to_owned(),
            message: format!("{name}\n"),
            signer: Signer::None,
        }
    }
}

/// `git` without configuration of the machine or user, with a fixed identity and clock.
fn git() -> Command {
    let mut command = Command::new("git");
    command
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("GIT_AUTHOR_NAME", AUTHOR.0)
        .env("GIT_AUTHOR_EMAIL", AUTHOR.1)
        .env("GIT_COMMITTER_NAME", COMMITTER.0)
        .env("GIT_COMMITTER_EMAIL", COMMITTER.1)
        .env("GIT_AUTHOR_DATE", "1700000000 +0000")
        .env("GIT_COMMITTER_DATE", "1700000000 +0000");
    command
}

const AUTHOR: (&str, &str) = ("Ada Author", "ada@example.com");
const COMMITTER: (&str, &str) = ("Carl Committer", "carl@example.com");

enum Parent {
    Tip,
    None,
    Revision(String),
}

enum Signer<'a> {
    None,
    Pgp(&'a PgpKey),
    Ssh(&'a SshKey),
}

impl Signer<'_> {
    fn configuration(&self) -> Vec<String> {
        match self {
            Signer::None => Vec::new(),
            Signer::Pgp(key) => vec![
                "-c".into(),
                "gpg.format=openpgp".into(),
                "-c".into(),
                format!("user.signingKey={}", key.fingerprint()),
            ],
            Signer::Ssh(key) => vec![
                "-c".into(),
                "gpg.format=ssh".into(),
                "-c".into(),
                format!("user.signingKey={}", key.path().display()),
            ],
        }
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        match self {
            Signer::Pgp(key) => vec![("GNUPGHOME", key.home().display().to_string())],
            _ => Vec::new(),
        }
    }
}

enum Change {
    Write {
        path: String,
        mode: &'static str,
        content: Vec<u8>,
    },
    Link {
        path: String,
        commit: String,
    },
    Remove(String),
    Clear,
}

/// A commit under construction: its changes relative to its parent.
pub struct CommitBuilder<'a> {
    repo: &'a Repo,
    reference: String,
    parent: Parent,
    message: String,
    when: i64,
    changes: Vec<Change>,
    signer: Signer<'a>,
}

impl<'a> CommitBuilder<'a> {
    /// Writes a file.
    pub fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref().to_vec();
        self.changes.push(Change::Write {
            path: path.to_owned(),
            mode: "100644",
            content,
        });
        self
    }

    /// Writes an executable file.
    pub fn executable(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref().to_vec();
        self.changes.push(Change::Write {
            path: path.to_owned(),
            mode: "100755",
            content,
        });
        self
    }

    /// Writes a symbolic link.
    pub fn symlink(mut self, path: &str, target: &str) -> Self {
        let content = target.as_bytes().to_vec();
        self.changes.push(Change::Write {
            path: path.to_owned(),
            mode: "120000",
            content,
        });
        self
    }

    /// Records a submodule's commit at `path`; the caller writes `.gitmodules`.
    pub fn submodule(mut self, path: &str, commit: &str) -> Self {
        self.changes.push(Change::Link {
            path: path.to_owned(),
            commit: commit.to_owned(),
        });
        self
    }

    /// Removes a file or folder.
    pub fn remove(mut self, path: &str) -> Self {
        self.changes.push(Change::Remove(path.to_owned()));
        self
    }

    /// Removes all files of the parent.
    pub fn clear(mut self) -> Self {
        self.changes.push(Change::Clear);
        self
    }

    /// The commit message.
    pub fn message(mut self, message: &str) -> Self {
        message.clone_into(&mut self.message);
        self
    }

    /// Author and committer time, in seconds since 1970.
    pub fn when(mut self, seconds: i64) -> Self {
        self.when = seconds;
        self
    }

    /// Creates a root commit; the branch is moved to it.
    pub fn orphan(mut self) -> Self {
        self.parent = Parent::None;
        self
    }

    /// Uses another parent than the branch's tip; the branch is moved, as in a force-push.
    pub fn parent(mut self, revision: &str) -> Self {
        self.parent = Parent::Revision(revision.to_owned());
        self
    }

    /// Signs with OpenPGP.
    pub fn signed_pgp(mut self, key: &'a PgpKey) -> Self {
        self.signer = Signer::Pgp(key);
        self
    }

    /// Signs with SSH.
    pub fn signed_ssh(mut self, key: &'a SshKey) -> Self {
        self.signer = Signer::Ssh(key);
        self
    }

    /// Writes the commit, moves the branch, and returns the commit's hash.
    pub fn create(self) -> String {
        let parent = match &self.parent {
            Parent::None => None,
            Parent::Revision(revision) => {
                Some(self.repo.rev_parse(&format!("{revision}^{{commit}}")))
            }
            Parent::Tip => {
                let listed =
                    self.repo
                        .git(&["for-each-ref", "--format=%(objectname)", &self.reference]);
                (!listed.is_empty()).then_some(listed)
            }
        };
        // First written to a scratch reference, so that the branch moves only once, to the complete (signed) commit.
        let scratch = "refs/git-servers/scratch";
        let mut stream = Vec::new();
        let mut head = String::new();
        if parent.is_none() {
            let _ = writeln!(head, "reset {scratch}\n");
        }
        let _ = writeln!(head, "commit {scratch}");
        for (role, (name, mail)) in [("author", AUTHOR), ("committer", COMMITTER)] {
            let _ = writeln!(head, "{role} {name} <{mail}> {} +0000", self.when);
        }
        let _ = writeln!(head, "data {}\n{}", self.message.len(), self.message);
        if let Some(parent) = &parent {
            let _ = writeln!(head, "from {parent}");
        }
        stream.extend_from_slice(head.as_bytes());
        for change in &self.changes {
            match change {
                Change::Clear => stream.extend_from_slice(b"deleteall\n"),
                Change::Remove(path) => {
                    stream.extend_from_slice(format!("D {}\n", quote(path)).as_bytes());
                }
                Change::Link { path, commit } => {
                    stream.extend_from_slice(
                        format!("M 160000 {commit} {}\n", quote(path)).as_bytes(),
                    );
                }
                Change::Write {
                    path,
                    mode,
                    content,
                } => {
                    let line = format!("M {mode} inline {}\ndata {}\n", quote(path), content.len());
                    stream.extend_from_slice(line.as_bytes());
                    stream.extend_from_slice(content);
                    stream.push(b'\n');
                }
            }
        }
        self.repo
            .git_with(&[], &["fast-import", "--quiet", "--force"], &stream);
        let mut commit = self.repo.rev_parse(scratch);
        if !matches!(self.signer, Signer::None) {
            let tree = self.repo.rev_parse(&format!("{commit}^{{tree}}"));
            let date = format!("{} +0000", self.when);
            let mut arguments = self.signer.configuration();
            arguments.extend(["commit-tree".into(), "-S".into(), tree]);
            if let Some(parent) = parent {
                arguments.extend(["-p".into(), parent]);
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let mut environment = self.signer.environment();
            environment.extend([
                ("GIT_AUTHOR_DATE", date.clone()),
                ("GIT_COMMITTER_DATE", date),
            ]);
            let environment: Vec<(&str, &str)> =
                environment.iter().map(|(k, v)| (*k, v.as_str())).collect();
            commit = self
                .repo
                .git_with(&environment, &arguments, self.message.as_bytes());
        }
        self.repo.update_ref(&self.reference, &commit);
        self.repo.git(&["update-ref", "-d", scratch]);
        commit
    }
}

/// Quotes a path for fast-import.
fn quote(path: &str) -> String {
    let mut quoted = String::from("\"");
    for c in path.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// An annotated tag under construction.
pub struct TagBuilder<'a> {
    repo: &'a Repo,
    name: String,
    revision: String,
    message: String,
    signer: Signer<'a>,
}

impl<'a> TagBuilder<'a> {
    /// The tag's message.
    pub fn message(mut self, message: &str) -> Self {
        message.clone_into(&mut self.message);
        self
    }

    /// Signs with OpenPGP.
    pub fn signed_pgp(mut self, key: &'a PgpKey) -> Self {
        self.signer = Signer::Pgp(key);
        self
    }

    /// Signs with SSH.
    pub fn signed_ssh(mut self, key: &'a SshKey) -> Self {
        self.signer = Signer::Ssh(key);
        self
    }

    /// Writes the tag object and creates or moves its reference; returns the tag object's hash.
    pub fn create(self) -> String {
        let mut arguments = self.signer.configuration();
        let kind = if matches!(self.signer, Signer::None) {
            "-a"
        } else {
            "-s"
        };
        arguments.extend([
            "tag".into(),
            kind.into(),
            "-f".into(),
            "-F".into(),
            "-".into(),
        ]);
        arguments.extend([self.name.clone(), self.revision.clone()]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let environment = self.signer.environment();
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(k, v)| (*k, v.as_str())).collect();
        self.repo
            .git_with(&environment, &arguments, self.message.as_bytes());
        self.repo.rev_parse(&format!("refs/tags/{}", self.name))
    }
}
