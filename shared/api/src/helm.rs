//! `helm.toolkit.fluxcd.io`: Helm releases.

mod helm_release;
mod status;
mod values;

pub use helm_release::*;
pub use status::*;
pub use values::*;
