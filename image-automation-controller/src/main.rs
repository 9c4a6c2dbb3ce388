//! image-automation-controller: commits the images that policies selected to Git repositories.

#![forbid(unsafe_code)]

mod flags;
mod image_update_automation;
mod setup;
mod triggers;

use std::process::ExitCode;

use flux_api::image::{ImagePolicy, ImageUpdateAutomation};
use flux_api::source::GitRepository;
use flux_runtime::client::VersionedKind;
use flux_runtime::manager::{self, Identity, Options};

/// The name of this controller: Lease, user agent, field manager, source of events.
const NAME: &str = "image-automation-controller";

fn main() -> ExitCode {
    let (flags, given) = flux_runtime::flags::parse::<flags::Flags>(&[]);
    let identity = Identity {
        controller: NAME,
        status_manager: NAME,
        gates: flags::GATES,
        pending: flags::PENDING,
    };
    let options = Options {
        selector: flags.selector.watch_label_selector.clone(),
        given,
        versioned: vec![
            VersionedKind::of::<ImageUpdateAutomation>(),
            VersionedKind::of::<ImagePolicy>(),
            VersionedKind::of::<GitRepository>(),
        ],
        ..Options::default()
    };
    manager::main(identity, flags.manager.clone(), options, async |manager| {
        setup::add(manager, &flags)
    })
}
