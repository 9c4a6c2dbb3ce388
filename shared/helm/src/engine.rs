//! Rendering: the built-in objects, Helm's functions, the order of templates and the texts of errors.

mod capabilities;
mod data;
mod durations;
mod errors;
mod files;
mod functions;
mod glob;
mod lookup;
mod objects;
mod parsed;
mod render;
mod toml;

pub use capabilities::{Capabilities, Discovery, HelmVersion, KubeVersion, KubeVersionError};
pub use lookup::{Lookup, Offline};
pub use parsed::ParsedChart;
pub use render::{RenderError, RenderOptions, render};
