//! `kustomize build` as a pure library: a tree of files in, Kubernetes objects out, byte for byte as kustomize 5.8.1.
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
//! # The entries
//!
//! | to | use |
//! |---|---|
//! | build a folder of a tree | [`build`] with [`Options`] |
//! | build within bounds of memory, and end a build before it is done | [`build_within`] with an [`Allowance`] |
//! | learn what a build needs from elsewhere, and hand it in | [`Build::Needs`], [`Remotes`] |
//! | build as Flux does: its settings, and the root kustomization that its `spec` makes | [`Options::flux`], [`flux::prepare`] |
//! | fill in variables after the build | [`substitute`] |
//! | look at the objects, or write them | [`Resources`], [`Resource`] |
//!
//! `cargo run --example build -- FOLDER` builds a folder of the disk, `--example bench` times builds beside `kubectl kustomize`.
//!
//! There is no clock, network, disk, process or global state in here, so that builds may run side by side. What a build
//! cannot know it asks for: a remote base gives [`Build::Needs`], and the caller fetches it into [`Remotes`] and builds
//! again.
//!
//! # Errors
//!
//! [`Error`] tells by its variant who can help, and its text is the one that users of kustomize know: the chain of bases, the
//! file, the field, the object. Where kustomize prints whole objects, which may be Secrets, their ids are named. Sources
//! are untrusted: [`Limits`] bounds what they may take, and an [`Allowance`] the memory of all builds of a process.
//!
//! # How it is known to be the same
//!
//! `tests/golden` holds small builds with what the real library gives for them, byte for byte and word for word; `tests/conformance.rs`
//! builds kustomize's own tests and public repositories; `tests/differential.rs` compares random overlays. Where it is not the
//! same on purpose, `docs/differences.md` says so.
//!
//! # Left to others
//!
//! Fetching and decryption (`kustomize-controller`), reading a disk into a tree (`flux-artifact`). Plugins that are programs or
//! containers and the inflation of Helm charts are refused, as kustomize does unless told otherwise.

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
pub use meter::Allowance;
pub use options::{Limits, LoadRestriction, Options, Order};
pub use output::{Build, Output, Resource, Resources, Warning, memory_of};
pub use remote::{RemoteBase, RemoteFailure, Remotes};
pub use repository::Repository;
