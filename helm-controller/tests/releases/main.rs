//! HelmReleases on a real API server, with sources that the tests make.

mod bench;
mod charts;
mod commands;
mod drift;
mod faults;
mod field;
mod interop;
mod kills;
mod lifecycle;
mod objects;
mod options;
mod prerequisites;
mod recovery;
mod refusal;
mod remediation;
mod templates;
