//! The frame that every controller runs in.
//!
//! A controller adds only what is specific to it: its kinds, each with a [`Reconciler`], and the flags that no other
//! controller has. The frame does what all reconciles have in common: flags and environment, logs, traces, metrics,
//! probes, leader election, watches and the queue, suspension, finalizers, the requested-at annotation, the conditions
//! Ready, Reconciling and Stalled, status patches, events, back-off, jitter and shutdown (ledger `common-runtime.md`,
//! RT rows).
//!
//! ```no_run
//! use clap::Parser;
//! use flux_runtime::{flags, manager::{self, Identity, Options, Pending}};
//!
//! #[derive(Parser)]
//! struct Flags {
//!     #[command(flatten)]
//!     manager: flags::ManagerFlags,
//!     #[command(flatten)]
//!     jitter: flags::JitterFlags,
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let (flags, given) = flags::parse::<Flags>(&[("concurrent", "2".to_owned())]);
//!     let identity = Identity {
//!         controller: "source-controller",
//!         status_manager: "source-controller",
//!         gates: &[("CacheSecretsAndConfigMaps", false)],
//!         pending: Pending { flags: &[], gates: &[] },
//!     };
//!     let options = Options { jitter: flags.jitter.interval_jitter_percentage, given, ..Options::default() };
//!     manager::main(identity, flags.manager, options, async |manager| {
//!         let environment = manager.environment();
//!         // manager.add(Controller::new(reconciler, settings, cache, environment)) for each kind
//!         # let _ = environment;
//!         Ok(())
//!     })
//! }
//! ```
//!
//! In other crates: the API types (`flux-api`), applying objects (`flux-apply`), artifacts (`flux-artifact`).

#![forbid(unsafe_code)]

pub mod action;
pub mod client;
pub mod conditions;
pub mod controller;
mod descriptors;
pub mod events;
#[cfg(test)]
mod fake;
mod finalizer;
pub mod flags;
mod frame;
pub mod gates;
pub mod leader;
mod logging;
pub mod manager;
mod memory;
pub mod metrics;
pub mod outcome;
pub mod panics;
mod patch;
pub mod per_object;
pub mod policy;
mod probes;
mod profiles;
pub mod queue;
pub mod reason;
pub mod run;
pub mod static_kind;
mod telemetry;
mod values;
pub mod watch;
pub mod work;

pub use action::Action;
pub use controller::{Reconciler, Settings};
pub use outcome::{Failure, Notice, Outcome, Pace};
pub use run::Run;
