//! image-reflector-controller: scans the tags of container images, and selects the latest of them.

#![forbid(unsafe_code)]

mod access;
mod flags;
mod image_policy;
mod image_repository;
mod reference;
mod selection;
mod setup;
mod store;
mod tags;

use std::process::ExitCode;

use flux_api::image::{ImagePolicy, ImageRepository};
use flux_runtime::client::VersionedKind;
use flux_runtime::manager::{self, Identity, Options};

/// The name of this controller, and its feature gates (IR-PROC-025 to IR-PROC-028, IR-PROC-052).
const IDENTITY: Identity = Identity {
    controller: "image-reflector-controller",
    status_manager: "image-reflector-controller",
    gates: flags::GATES,
    pending: flags::PENDING,
};

fn main() -> ExitCode {
    let (flags, given) = flux_runtime::flags::parse::<flags::Flags>(&[]);
    let options = Options {
        selector: flags.selector.watch_label_selector.clone(),
        given,
        versioned: vec![
            VersionedKind::of::<ImageRepository>(),
            VersionedKind::of::<ImagePolicy>(),
        ],
        ..Options::default()
    };
    manager::main(IDENTITY, flags.manager.clone(), options, async |manager| {
        setup::add(manager, &flags)
    })
}
