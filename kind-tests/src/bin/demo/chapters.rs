//! What the demo shows, a file for each subject.

pub(crate) mod charts;
pub(crate) mod generator;
pub(crate) mod git;
pub(crate) mod images;
pub(crate) mod oci;
