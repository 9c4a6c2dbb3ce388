//! `helm.toolkit.fluxcd.io`: Helm releases.

mod actions;
mod chart;
mod helm_release;
mod post_renderer;
mod status;
mod values;

pub use actions::*;
pub use chart::*;
pub use helm_release::*;
pub use post_renderer::*;
pub use status::*;
pub use values::*;
