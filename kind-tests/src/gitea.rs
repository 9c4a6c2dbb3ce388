//! A real Git forge on loopback: Gitea, built from its Go module, with its API, its pages for Git, its webhooks and its SSH server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use git_servers::SshKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cache::{self, Fingerprint};
use crate::cluster::free_ports;
use crate::failure::{Doing, Failure, Result};
use crate::go_program::GoProgram;
use crate::namespace::deadline;

/// The program; the other folders are read at run time.
const PROGRAM: GoProgram = GoProgram {
    name: "gitea",
    cache: "gitea",
    module: "code.gitea.io/gitea",
    version: "v1.26.0",
    package: ".",
    link: "-X main.Version=1.26.0",
    cgo_tags: Some("sqlite sqlite_unlock_notify"),
    data: &["templates", "options", "public"],
    complete: None,
};

/// The user that owns all repositories.
const USER: &str = "flux";

/// A running Gitea, which has the user `flux`; stopped on drop.
pub struct Gitea {
    child: Child,
    folder: TempDir,
    url: String,
    ssh: u16,
    host_key: SshKey,
    token: String,
    client: reqwest::Client,
}

impl Gitea {
    /// The program, built if it is not cached (six minutes of a processor; needs a C compiler).
    ///
    /// # Errors
    /// If it does not build.
    pub fn build() -> Result<PathBuf> {
        PROGRAM.build()
    }

    /// Starts one without repositories, and waits until it answers.
    ///
    /// # Errors
    /// If it does not build or start.
    pub async fn start() -> Result<Self> {
        let (program, prepared) = tokio::task::spawn_blocking(|| {
            let program = Self::build()?;
            let prepared = prepared(&program)?;
            Ok::<_, Failure>((program, prepared))
        })
        .await??;
        let folder = TempDir::new()?;
        fs::copy(prepared.join("gitea.db"), folder.path().join("gitea.db"))
            .doing("copy the database")?;
        let token = fs::read_to_string(prepared.join("token"))?;
        let host_key = SshKey::ed25519();
        let [http, ssh] = free_ports()?;
        let settings = settings(&program, folder.path(), http, ssh, &host_key.path())?;
        let log = fs::File::create(folder.path().join("log"))?;
        let child = command(&program, folder.path(), &settings)?
            .arg("web")
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .doing("start gitea")?;
        let mut gitea = Self {
            child,
            folder,
            url: format!("http://127.0.0.1:{http}"),
            ssh,
            host_key,
            token,
            client: flux_http::ClientOptions::default().build()?,
        };
        gitea.ready().await?;
        Ok(gitea)
    }

    async fn ready(&mut self) -> Result {
        let health = format!("{}/api/healthz", self.url);
        let answered = async {
            loop {
                if let Some(status) = self.child.try_wait()? {
                    return Err(Failure::new(format!("gitea exited with {status}")));
                }
                let answer = self.client.get(&health).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let answered = match tokio::time::timeout(deadline(), answered).await {
            Ok(answered) => answered,
            Err(_) => Err(Failure::new("gitea does not answer")),
        };
        answered.map_err(|failure| Failure::new(format!("{failure}:\n{}", self.log())))
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The address, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of a repository for Git over HTTP.
    pub fn git_url(&self, repository: &str) -> String {
        format!("{}/{USER}/{repository}.git", self.url)
    }

    /// The address of a repository for Git over SSH.
    pub fn ssh_url(&self, repository: &str) -> String {
        format!("ssh://git@127.0.0.1:{}/{USER}/{repository}.git", self.ssh)
    }

    /// The line of `known_hosts` for the SSH server.
    pub fn known_hosts(&self) -> String {
        format!("[127.0.0.1]:{} {}", self.ssh, self.host_key.public())
    }

    /// A token of the user `flux` with all rights, which is also accepted as its password.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Calls the API: `call` is a method and a path below `/api/v1`, such as `GET /version`.
    ///
    /// # Errors
    /// If the status is no success; the text has the answer.
    pub async fn api(&self, call: &str, body: &Value) -> Result<Value> {
        let (method, path) = call.split_once(' ').unwrap_or(("GET", call));
        let url = format!("{}/api/v1{path}", self.url);
        let mut request = self
            .client
            .request(method.parse()?, url)
            .header("Authorization", format!("token {}", self.token));
        if !body.is_null() {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            return Err(Failure::new(format!("{call}: {status}: {text}")));
        }
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Asks the API again and again until `look` finds in an answer what it wants.
    ///
    /// # Errors
    /// If it does not in time, or a call fails.
    pub async fn wait<T>(
        &self,
        goal: &str,
        call: &str,
        look: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        let mut last = Value::Null;
        let asking = async {
            loop {
                last = self.api(call, &Value::Null).await?;
                if let Some(found) = look(&last) {
                    return Ok(found);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(deadline(), asking).await {
            Ok(found) => found,
            Err(_) => Err(Failure::new(format!(
                "{goal}: in vain; {call}: {last}\n{}",
                self.log()
            ))),
        }
    }

    /// Creates a private repository of `flux` with a first commit on the branch `main`.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn create(&self, name: &str) -> Result {
        let body =
            json!({"name": name, "private": true, "auto_init": true, "default_branch": "main"});
        self.api("POST /user/repos", &body).await?;
        Ok(())
    }

    /// Commits a file to a branch, which is created from `main` if need be; returns the commit.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn commit(
        &self,
        repository: &str,
        branch: &str,
        path: &str,
        content: &str,
    ) -> Result<String> {
        let file = format!("/repos/{USER}/{repository}/contents/{path}");
        let is_there = self
            .api(
                &format!("GET /repos/{USER}/{repository}/branches/{branch}"),
                &Value::Null,
            )
            .await
            .is_ok();
        let from = if is_there { branch } else { "main" };
        let old = self
            .api(&format!("GET {file}?ref={from}"), &Value::Null)
            .await
            .ok();
        let mut body = json!({
            "content": BASE64_STANDARD.encode(content), "branch": from, "message": format!("Write {path}"),
        });
        if !is_there {
            body["new_branch"] = json!(branch);
        }
        let method = if let Some(old) = old {
            body["sha"] = old["sha"].clone();
            "PUT"
        } else {
            "POST"
        };
        let done = self.api(&format!("{method} {file}"), &body).await?;
        let commit = done["commit"]["sha"].as_str();
        Ok(commit.unwrap_or_default().to_owned())
    }

    /// The text of a file at a branch, tag or commit.
    ///
    /// # Errors
    /// If it is not there.
    pub async fn content(&self, repository: &str, path: &str, revision: &str) -> Result<String> {
        let call = format!("GET /repos/{USER}/{repository}/contents/{path}?ref={revision}");
        let file = self.api(&call, &Value::Null).await?;
        let bytes = BASE64_STANDARD.decode(file["content"].as_str().unwrap_or_default())?;
        Ok(String::from_utf8(bytes)?)
    }
}

impl Drop for Gitea {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The settings of an installation.
fn settings(program: &Path, folder: &Path, http: u16, ssh: u16, host_key: &Path) -> Result<String> {
    let user = Command::new("id").arg("-un").output().doing("run id")?;
    let user = String::from_utf8(user.stdout)?;
    let data = program.parent().unwrap_or(folder);
    Ok(TEMPLATE
        .replace("{user}", user.trim())
        .replace("{data}", &data.to_string_lossy())
        .replace("{folder}", &folder.to_string_lossy())
        .replace("{http}", &http.to_string())
        .replace("{ssh}", &ssh.to_string())
        .replace("{host_key}", &host_key.to_string_lossy()))
}

/// No mail, no scheduled work, no search index, nothing asked of the Internet; webhooks may be sent to loopback.
const TEMPLATE: &str = "
RUN_USER = {user}
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
WORK_PATH = {folder}
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {http}
ROOT_URL = http://127.0.0.1:{http}/
STATIC_ROOT_PATH = {data}
OFFLINE_MODE = true
LFS_START_SERVER = false
START_SSH_SERVER = true
BUILTIN_SSH_SERVER_USER = git
SSH_LISTEN_HOST = 127.0.0.1
SSH_LISTEN_PORT = {ssh}
SSH_PORT = {ssh}
SSH_SERVER_HOST_KEYS = {host_key}
[database]
DB_TYPE = sqlite3
PATH = {folder}/gitea.db
[repository]
ROOT = {folder}/repositories
DEFAULT_BRANCH = main
[security]
INSTALL_LOCK = true
SECRET_KEY = of-a-test
INTERNAL_TOKEN = of-a-test-too
PASSWORD_HASH_ALGO = pbkdf2$1$8
[webhook]
ALLOWED_HOST_LIST = loopback
[oauth2]
ENABLED = false
[queue]
TYPE = channel
[indexer]
ISSUE_INDEXER_TYPE = db
[session]
PROVIDER = memory
[picture]
DISABLE_GRAVATAR = true
[cron]
ENABLED = false
[actions]
ENABLED = false
[log]
LEVEL = Warn
";

/// A command of an installation in this folder, whose settings are written first.
fn command(program: &Path, folder: &Path, settings: &str) -> Result<Command> {
    let file = folder.join("app.ini");
    fs::write(&file, settings).doing("write the settings of gitea")?;
    let mut command = Command::new(program);
    command
        .arg("--config")
        .arg(file)
        .current_dir(folder)
        .env("HOME", folder)
        .stdin(Stdio::null());
    Ok(command)
}

/// A folder with a database that has the user `flux`, and with its token; made once, since it takes seconds.
fn prepared(program: &Path) -> Result<PathBuf> {
    let key = Fingerprint::default()
        .with(program.to_string_lossy().as_bytes())
        .with(TEMPLATE)
        .key();
    cache::folder_of(&cache::folder()?.join("gitea-data"), &key, |folder| {
        let settings = settings(program, folder, 3000, 2222, &folder.join("none"))?;
        let run = |arguments: &[&str]| {
            let output = command(program, folder, &settings)?
                .args(arguments)
                .output()
                .doing("run gitea")?;
            if !output.status.success() {
                return Err(Failure::new(format!(
                    "gitea {}: {}{}",
                    arguments.join(" "),
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                )));
            }
            Ok(String::from_utf8(output.stdout)?)
        };
        run(&["migrate"])?;
        run(&[
            "admin",
            "user",
            "create",
            "--admin",
            "--username",
            USER,
            "--email",
            "flux@example.com",
            "--random-password",
            "--must-change-password=false",
        ])?;
        let token = run(&[
            "admin",
            "user",
            "generate-access-token",
            "--username",
            USER,
            "--token-name",
            "tests",
            "--scopes",
            "all",
            "--raw",
        ])?;
        let token = token.lines().last().unwrap_or_default().trim();
        fs::write(folder.join("token"), token).doing("keep the token")
    })
}
