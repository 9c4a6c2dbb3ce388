//! `image.toolkit.fluxcd.io`: image repositories, the latest image, and writing it back to Git.

mod image_policy;
mod image_repository;
mod image_update_automation;

pub use image_policy::*;
pub use image_repository::*;
pub use image_update_automation::*;
