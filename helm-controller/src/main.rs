//! helm-controller: installs, upgrades, tests, rolls back and uninstalls releases of charts.

#![forbid(unsafe_code)]

mod flags;
mod helm_release;
mod oom_watch;
mod setup;

use std::process::ExitCode;

use flux_runtime::manager::{self, Identity, Options};

fn main() -> ExitCode {
    let (flags, given) = flux_runtime::flags::parse::<flags::Flags>(&[]);
    let identity = Identity {
        controller: helm_release::FIELD_MANAGER,
        status_manager: helm_release::FIELD_MANAGER, // HC-PROC-054
        gates: flags::GATES,
        pending: flags::PENDING,
    };
    let options = Options {
        selector: flags.selector.watch_label_selector.clone(),
        jitter: flags.jitter.interval_jitter_percentage,
        grace: flags.graceful_shutdown_timeout,
        given,
        ..Options::default()
    };
    manager::main(identity, flags.manager.clone(), options, async |manager| {
        setup::add(manager, &flags)
    })
}
