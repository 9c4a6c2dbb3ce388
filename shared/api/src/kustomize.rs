//! `kustomize.toolkit.fluxcd.io`: manifests applied from a source.

mod kustomization;

pub use kustomization::*;
