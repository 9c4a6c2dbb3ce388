//! Real Git servers on loopback, for tests: `git http-backend` behind a small HTTP server, and OpenSSH's `sshd`.
//!
//! ```
//! use git_servers::{HttpGitServer, Repo};
//!
//! let server = HttpGitServer::builder().basic_auth("flux", "s3cret").start();
//! let repo = Repo::init(server.root(), "org/app.git");
//! let first = repo.commit("main").file("web.yaml", "kind: Service\n").message("first").create();
//! repo.tag("1.0.0", &first);
//! assert!(server.url("org/app.git").starts_with("http://127.0.0.1:"));
//! assert!(server.requests().is_empty());
//! ```
//!
//! Everything runs on its own threads and is stopped on drop, so it works for blocking and async tests. The programs
//! `git`, and for some helpers `sshd`, `ssh-keygen` and `gpg`, must be installed; see [`sshd_available`] and
//! [`gpg_available`]. A fixture that cannot be set up panics with the program's output: this crate is for tests only.

mod backend;
mod certificates;
mod github;
mod http;
mod keys;
mod proxy;
mod repo;
mod serving;
mod ssh;
mod tinyproxy;

pub use certificates::{Authority, Pair};
pub use github::GitHubApp;
pub use http::{HttpGitServer, HttpGitServerBuilder, Request};
pub use keys::{PgpKey, SshKey, gpg_available};
pub use proxy::Proxy;
pub use repo::{CommitBuilder, Repo, TagBuilder};
pub use serving::{Listening, Serving};
pub use ssh::{SshGitServer, SshGitServerBuilder, sshd_available};
pub use tinyproxy::Tinyproxy;
