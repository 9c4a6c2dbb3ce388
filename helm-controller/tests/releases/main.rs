//! HelmReleases on a real API server, with sources that the tests make.

mod admission;
mod bench;
mod charts;
mod commands;
mod drift;
mod faults;
mod field;
mod hooks;
mod interop;
mod kills;
mod lifecycle;
mod objects;
mod options;
mod prerequisites;
mod process;
mod recovery;
mod refusal;
mod remediation;
mod storage;
mod targets;
mod templates;
mod uninstalling;
