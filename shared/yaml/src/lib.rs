//! YAML read and written as Go's libraries do, so that every byte equals what Flux, kustomize and Helm give.
mod alias;
mod binary;
mod compose;
mod decode;
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
mod scan;
pub mod sigs;
mod source;
mod timestamp;
pub mod v3;
mod value;

pub use error::Error;
pub use node::{Comments, Kind, Node, Style};
pub use value::{Map, Value};
