//! Objects of an API server by name.
//!
//! Names and namespaces of the objects that an object refers to are written by users: `?watch=true` would turn a read
//! into a watch that never ends, `../../other/secrets/x` would read another namespace. [`Objects`] is the only way from
//! a name to a request: it refuses what is no segment of a path, in the words of client-go, and escapes the rest.
//! kube's own ways are disallowed by `clippy.toml`. Requests that are built by hand take their segments from [`path`].
//!
//! [`TimeLimit`] is the second half: a client made with it has no request without an end, watches excepted. [`quiet`] keeps
//! what a server answers out of kube's log lines.
//!
//! ```
//! use flux_objects::path;
//!
//! assert_eq!(path::name("web").as_deref(), Ok("web"));
//! assert_eq!(path::name("?watch=true").as_deref(), Ok("%3Fwatch%3Dtrue"));
//! let refused = path::name("../../other/secrets/x").unwrap_err();
//! assert_eq!(
//!     refused.to_string(),
//!     r#"invalid resource name "../../other/secrets/x": [may not contain '/']"#
//! );
//! ```

mod limit;
mod objects;
pub mod path;
mod quiet;

pub use limit::{Limited, LimitedService, TimeLimit, TimedOut};
pub use objects::{Error, Objects, words, words_of_kubeconfig};
pub use quiet::{Quiet, quiet};
