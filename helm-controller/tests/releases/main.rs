//! HelmReleases on a real API server, with sources that the tests make.

mod bench;
mod drift;
mod interop;
mod lifecycle;
mod options;
mod prerequisites;
mod recovery;
mod remediation;
mod templates;
