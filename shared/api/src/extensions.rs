//! `source.extensions.fluxcd.io`: artifacts composed from other artifacts.

mod artifact_generator;

pub use artifact_generator::*;
