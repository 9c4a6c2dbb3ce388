//! `kustomize.toolkit.fluxcd.io`: manifests applied from a source.

mod kustomization;
mod reason;

pub use kustomization::*;
pub use reason::Reason;
