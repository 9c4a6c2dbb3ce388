//! source-watcher: composes ExternalArtifacts of the artifacts of other sources, and serves them.

#![forbid(unsafe_code)]

mod artifact_generator;
mod flags;
mod setup;

use std::process::ExitCode;
use std::time::Duration;

use flux_runtime::manager::{self, Identity, Options};

/// The name of this controller, and its feature gates (SW-PROC-025).
const IDENTITY: Identity = Identity {
    controller: "source-watcher",
    status_manager: "source-watcher",
    gates: &[("DirectSourceFetch", false)],
    pending: flags::PENDING,
};

fn main() -> ExitCode {
    let (flags, given) = flags::Flags::read();
    // RT-KUB-002: only where it is asked for (SW-PROC-016)
    let mut rates = ["kube-api-qps", "kube-api-burst"].iter();
    let limits_requests = rates.any(|flag| given.contains(flag));
    let options = Options {
        selector: flags.selector.watch_label_selector.clone(),
        jitter: flags.jitter.interval_jitter_percentage,
        grace: Duration::from_secs(30),
        limits_requests,
        given,
        ..Options::default()
    };
    manager::main(IDENTITY, flags.manager.clone(), options, async |manager| {
        setup::add(manager, &flags)
    })
}
