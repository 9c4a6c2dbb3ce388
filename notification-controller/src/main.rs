//! notification-controller: sends the events of the other controllers to services, and turns webhooks into reconcile
//! requests.

#![forbid(unsafe_code)]

mod claims;
mod event;
mod event_server;
mod expression;
mod flags;
mod provider;
mod receiver;
mod receiver_server;
mod server;
mod setup;
mod static_kinds;

use std::process::ExitCode;

use flux_api::notification::{Alert, Provider, Receiver};
use flux_runtime::client::VersionedKind;
use flux_runtime::manager::{self, Identity, Options};

fn main() -> ExitCode {
    // NC-PROC-002
    let (flags, given) =
        flux_runtime::flags::parse::<flags::Flags>(&[("events-addr", ":9090".to_owned())]);
    let identity = Identity {
        controller: receiver::FIELD_MANAGER,
        status_manager: receiver::FIELD_MANAGER,
        gates: flags::GATES,
        pending: flags::PENDING,
    };
    let options = Options {
        given,
        versioned: vec![
            VersionedKind::of::<Alert>(),
            VersionedKind::of::<Provider>(),
            VersionedKind::of::<Receiver>(),
        ],
        posts_events: false,
        ..Options::default()
    };
    manager::main(identity, flags.manager.clone(), options, async |manager| {
        setup::add(manager, &flags).await
    })
}
