//! HelmReleases on a real API server, with sources that the tests make.

mod admission;
mod bench;
mod drift;
mod hooks;
mod interop;
mod lifecycle;
mod options;
mod prerequisites;
mod process;
mod recovery;
mod remediation;
mod storage;
mod targets;
mod templates;
mod uninstalling;
