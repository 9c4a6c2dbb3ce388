//! YAML read and written as Go's libraries do, so that every byte equals the output of Flux, kustomize and Helm, and
//! edits of single values that keep every other byte of a file.
//!
//! ```
//! use flux_yaml::{Value, sigs, v3};
//!
//! // As Kubernetes' tools read and write: YAML 1.1, mapped to JSON, keys sorted on output.
//! let value = sigs::from_str("on: yes\nport: 0x50\nname: app # of the team\n")?;
//! assert_eq!(value.get("true"), Some(&Value::Bool(true)));
//! assert_eq!(sigs::to_string(&value)?, "name: app\nport: 80\n\"true\": true\n");
//!
//! // As kustomize does: a tree with comments, styles and positions, written in kyaml's layout.
//! let document = v3::parse("name:   app # of the team\nports:\n    - 80\n")?.expect("there is a document");
//! assert_eq!(document.root().and_then(|root| root.get("name")?.as_string()), Some("app"));
//! assert_eq!(v3::to_string(&document)?, "name: app # of the team\nports:\n- 80\n");
//!
//! // Errors are in go-yaml's words, since clients see them.
//! let error = sigs::from_str("a: b\nc: d: e\n").unwrap_err();
//! assert_eq!(error.to_string(), "error converting YAML to JSON: yaml: line 2: mapping values are not allowed in this context");
//! assert_eq!(error.position(), Some((2, 5)));
//! # Ok::<(), flux_yaml::Error>(())
//! ```
//!
//! | task | Go library | here |
//! |---|---|---|
//! | plain data from and to text | `sigs.k8s.io/yaml` v1.6 on go-yaml v2 | [`sigs`] |
//! | trees with comments, and data by yaml.v3's rules | `go.yaml.in/yaml/v3`, kyaml | [`v3`], [`Node`] |
//! | JSON text | `encoding/json` | [`json`] |
//! | one value of a file, in place | (no counterpart) | [`edit`] |
//!
//! Limits: documents of 256 MiB, collections [`MAX_DEPTH`] deep with aliases expanded, and go-yaml's own guard against
//! documents that expand through aliases. Readers whose names end in `_within` claim the memory of a document.
//!
//! Out of scope are the schema of what is read, splitting streams where a tool has its own rules, and everything that
//! kustomize or Helm does with the data.

mod alias;
mod binary;
mod compose;
mod decode;
pub mod edit;
mod emit;
mod encode;
mod error;
mod expand;
mod go_syntax;
pub mod json;
mod natural;
mod node;
mod number;
mod parse;
mod resolve;
mod room;
mod scan;
pub mod sigs;
mod source;
mod span;
mod timestamp;
pub mod v3;
mod value;

pub use error::Error;
pub use node::{Comments, Kind, Node, Style};
pub use scan::MAX_DEPTH;
pub use value::{Map, Value};
