//! `kustomize build` as a pure library: from a tree of files to Kubernetes objects, byte for byte as kustomize 5.8.1.
//!
//! ```
//! use flux_kustomize::{Build, Options, Remotes, build};
//! use flux_tree::{Tree, TreePath};
//!
//! let mut tree = Tree::new();
//! let mut file = |path: &str, text: &'static str| tree.insert_file(TreePath::new(path).unwrap(), text, false).unwrap();
//! file("app/kustomization.yaml", "namePrefix: dev-\nresources: [service.yaml]\n");
//! file("app/service.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n");
//!
//! let dir = TreePath::new("app").unwrap();
//! let Build::Done(output) = build(&tree, &dir, &Options::default(), &Remotes::new()).unwrap() else {
//!     unreachable!("nothing here is remote");
//! };
//! assert_eq!(output.resources.to_yaml(), "apiVersion: v1\nkind: Service\nmetadata:\n  name: dev-web\n");
//! ```
//!
//! # Entry points
//!
//! | to | use |
//! |---|---|
//! | build a folder of a tree | [`build`] with [`Options`] |
//! | build within memory limits, cancellable | [`build_within`] with an [`Allowance`] |
//! | find out which remote files a build needs, and provide them | [`Build::Needs`], [`Remotes`] |
//! | build as Flux does: its settings, and the root kustomization with its `spec` applied | [`Options::flux`], [`flux::prepare`] |
//! | substitute variables after the build | [`substitute`] |
//! | set labels and annotations on a stream of objects | [`set_metadata`] |
//! | read the objects, or write them as YAML | [`Resources`], [`Resource`] |
//!
//! `cargo run --example build -- FOLDER` builds a folder on disk, `--example bench` benchmarks builds against
//! `kubectl kustomize`.
//!
//! The crate uses no clock, network, disk, process or global state, so builds can run concurrently. A build that needs
//! remote files returns [`Build::Needs`]; the caller fetches them into [`Remotes`] and builds again.
//!
//! # Errors
//!
//! The variants of [`Error`] distinguish who can fix it, and its text is kustomize's: the chain of bases, the file, the
//! field, the object. Where kustomize prints whole objects, which may be Secrets, only their ids are shown. Sources are
//! untrusted: [`Limits`] bounds the work on them, and an [`Allowance`] the memory of all builds of a process.
//!
//! # Conformance
//!
//! `tests/golden` has small builds with the output of the real library, byte for byte; `tests/conformance.rs` builds
//! kustomize's own tests and public repositories; `tests/differential.rs` compares random overlays. Deliberate
//! differences are listed in `docs/differences.md`.
//!
//! # Out of scope
//!
//! Fetching and decryption (`kustomize-controller`), and reading a disk into a tree (`flux-artifact`). Plugins that are
//! programs or containers and the inflation of Helm charts are rejected, as in kustomize by default.

#![forbid(unsafe_code)]

mod build;
mod config;
mod crd_config;
mod default_fields;
mod error;
mod field_spec;
pub mod flux;
mod generator;
mod go;
mod hash;
mod id;
mod json_patch;
mod loader;
mod merge;
mod metadata;
mod meter;
mod node;
mod options;
mod origin;
mod output;
mod plugin;
mod regexp;
mod remote;
mod repository;
mod resmap;
mod resource;
mod schema;
mod scope;
mod secrecy;
mod stack;
mod state;
pub mod substitute;
mod target;
mod transformer;
mod transformer_config;

pub use build::{build, build_within};
pub use error::{Error, Limited};
pub use metadata::{CommonMetadata, set_metadata};
pub use meter::Allowance;
pub use options::{Limits, LoadRestriction, Options, Order};
pub use output::{Build, Output, Resource, Resources, Warning, memory_of};
pub use remote::{RemoteBase, RemoteFailure, Remotes};
pub use repository::Repository;
