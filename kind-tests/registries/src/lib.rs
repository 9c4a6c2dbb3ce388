//! A real OCI registry on loopback, for tests: cuelabs' `ociregistry` (a small Go program in this folder) behind a front
//! that adds TLS, authentication, failures, and a record of the requests.
//!
//! ```no_run
//! use registries::{Artifact, Registry};
//!
//! let registry = Registry::builder().token_auth("flux", "s3cret").start();
//! let layer = registries::tar_gz(&[("web.yaml", "kind: Service\n")]);
//! let digest = registry.push("org/app", "1.0.0", &Artifact::flux(layer));
//! assert!(digest.starts_with("sha256:"));
//! assert!(registry.requests().is_empty()); // pushes go past the front
//! ```
//!
//! [`Distribution`] is Debian's `docker-registry`, as a second opinion.
//!
//! Everything runs on its own threads and is stopped on drop. Go must be installed. A fixture that cannot be set up
//! panics: this crate is for tests only.

mod artifact;
mod distribution;
mod front;
mod program;
mod push;

pub use artifact::{Artifact, digest_of, tar_gz};
pub use distribution::Distribution;
pub use front::{Registry, RegistryBuilder, Request};
