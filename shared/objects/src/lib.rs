//! Objects of an API server by name.
//!
//! Users write the names and namespaces of referenced objects: `?watch=true` would turn a read into a watch that never
//! ends, `../../other/secrets/x` would read another namespace. [`Objects`] is the only way from a name to a request: it
//! rejects what is not a path segment, with client-go's error texts, and escapes the rest. kube's own methods are
//! disallowed by `clippy.toml`. Requests that are built by hand take their segments from [`path`].
//!
//! [`TimeLimit`] is the second half: no request of a client built with it runs without a limit, watches excepted.
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

pub use limit::{Limited, LimitedService, TimeLimit};
pub use objects::{Error, Objects, words, words_of_kubeconfig};
