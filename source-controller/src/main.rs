//! source-controller: fetches sources and serves them as artifacts.

mod bucket;
mod flags;
mod git_repository;
mod helm;
mod helm_chart;
mod helm_repository;
mod oci_repository;
mod secrets;
mod setup;
mod signatures;

use std::process::ExitCode;

use flux_runtime::manager::{self, Identity, Options};

/// The name of this controller, and its feature gates (SC-PROC-027).
const IDENTITY: Identity = Identity {
    controller: "source-controller",
    status_manager: "source-controller",
    gates: &[("CacheSecretsAndConfigMaps", false)],
    pending: flags::PENDING,
};

fn main() -> ExitCode {
    let (flags, given) = flags::Flags::read();
    let options = Options {
        selector: flags.selector.watch_label_selector.clone(),
        jitter: flags.jitter.interval_jitter_percentage,
        given,
        ..Options::default()
    };
    manager::main(IDENTITY, flags.manager.clone(), options, async |manager| {
        setup::add(manager, &flags)
    })
}
