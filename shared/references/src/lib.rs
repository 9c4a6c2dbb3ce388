//! What an object refers to: ConfigMaps, Secrets, sources and dependencies, found and watched.
//!
//! ```
//! use flux_api::kustomize::{Kustomization, KustomizationSpec};
//! use flux_references::{Index, ObjectRef, key_in};
//! use flux_runtime::queue::Key;
//! use flux_runtime::watch::Cache;
//!
//! let kustomizations = Cache::<Kustomization>::default();
//! let index = Index::of(&kustomizations, |object| {
//!     let source = &object.spec.source_ref;
//!     let own = object.metadata.namespace.as_deref().unwrap_or_default();
//!     let key = key_in(source.namespace.as_deref(), own, &source.name);
//!     vec![ObjectRef::new(source.kind.as_str().to_owned(), key)]
//! });
//!
//! let mut object = Kustomization::new("apps", KustomizationSpec::default());
//! object.metadata.namespace = Some("team".into());
//! object.spec.source_ref.kind = "GitRepository".into();
//! object.spec.source_ref.name = "fleet".into();
//! kustomizations.upsert(object);
//! let fleet = ObjectRef::new("GitRepository", Key::new("team", "fleet"));
//! assert_eq!(index.referrers(&fleet), [Key::new("team", "apps")]);
//! ```
//!
//! - [`Reader`] reads objects of one kind by name, from a cache or from the API server; [`Configs`] has one for ConfigMaps
//!   and one for Secrets, [`Secrets`] reads them within a deadline, as proxy or certificates; [`Sources`] has the caches of the kinds with an artifact.
//! - [`Waiting`] checks dependencies and wakes those that wait for them; [`ready_by_expression`] asks an expression; [`in_order`] sorts by dependencies.
//! - [`Index`] knows which objects refer to which; [`triggers`] are the changes that enqueue them.
//!
//! Everything here is read with the controller's own identity, and errors are facts: their reasons, and the texts that differ
//! from kind to kind, are in each kind's `failure.rs`. Whether a reference is allowed is decided elsewhere.

#![forbid(unsafe_code)]

mod configs;
mod dependencies;
#[cfg(test)]
mod fake;
mod index;
mod reader;
mod ready_expression;
mod secrets;
mod sources;
pub mod triggers;

pub use configs::{Configs, MAX_VALUES, Reading, Values, ValuesError, secret_data};
pub use dependencies::{Cycle, Waiting, dependency_keys, in_order, is_ready};
pub use index::{Index, ObjectRef, key_in};
pub use reader::{ReadError, Reader};
pub use ready_expression::{ReadyExpressionError, ready_by_expression};
pub use secrets::{ReferredError, SecretReadError, Secrets, log_legacy_keys};
pub use sources::{Source, SourceError, Sources, origin_revision};
