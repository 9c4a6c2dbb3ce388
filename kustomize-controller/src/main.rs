//! kustomize-controller: builds and applies the manifests in the artifacts of sources.

#![forbid(unsafe_code)]

mod flags;
mod kustomization;
mod setup;
mod watched;

use std::process::ExitCode;
use std::time::Duration;

use flux_runtime::manager::{self, Identity, Options};

fn main() -> ExitCode {
    let (flags, given) = flux_runtime::flags::parse::<flags::Flags>(&[]);
    let identity = Identity {
        controller: kustomization::FIELD_MANAGER,
        status_manager: "gotk-kustomize-controller",
        gates: flags::GATES,
        pending: flags::PENDING,
    };
    let options = Options {
        selector: flags.selector.watch_label_selector.clone(),
        jitter: flags.jitter.interval_jitter_percentage,
        grace: Duration::from_secs(30),
        given,
        ..Options::default()
    };
    manager::main(identity, flags.manager.clone(), options, async |manager| {
        setup::add(manager, &flags)
    })
}
