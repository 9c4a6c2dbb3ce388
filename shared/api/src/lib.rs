//! The types of every Flux kind: data, no behaviour.
//!
//! ```
//! use flux_api::source::{GitRepository, GitRepositorySpec};
//!
//! let spec = GitRepositorySpec {
//!     url: "https://example.com/org/repo".into(),
//!     interval: "5m".parse().unwrap(),
//!     ..GitRepositorySpec::default()
//! };
//! let object = GitRepository::new("podinfo", spec);
//! let json = serde_json::to_value(&object).unwrap();
//! assert_eq!(json["apiVersion"], "source.toolkit.fluxcd.io/v1");
//! assert_eq!(json["spec"]["interval"], "5m0s");
//! ```
//!
//! A module per API group, a file per kind, and [`meta`] for what the kinds share.
//!
//! Decoding is lenient: an absent field gets its type's empty value and an unknown value of an enumeration is kept as
//! text, because objects that were stored under an older version of a definition are served unchanged. The schema says
//! what an object must contain, and the API server validates it. What the fields mean for a reconcile is up to the
//! controllers.

#![forbid(unsafe_code)]

mod definition;
pub mod extensions;
pub mod helm;
pub mod image;
pub mod kustomize;
mod legacy;
pub mod meta;
pub mod notification;
mod schema;
pub mod source;
mod yaml;

pub use definition::{Definition, definitions};
pub use yaml::kustomization;
