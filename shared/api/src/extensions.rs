//! `source.extensions.fluxcd.io`: artifacts put together out of other artifacts.

mod artifact_generator;

pub use artifact_generator::*;
