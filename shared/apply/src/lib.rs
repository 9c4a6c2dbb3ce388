//! Server-side apply of sets of objects: in stages, with drift detection, pruning and an inventory.
//!
//! ```no_run
//! use flux_apply::{Memory, Options, apply_in_stages, inventory, normalise, parse};
//! use flux_cluster::Cluster;
//!
//! # async fn example(client: kube::Client) -> Result<(), flux_apply::Failed> {
//! let cluster = Cluster::new(client, "kustomize-controller");
//! let mut objects = parse::objects([serde_json::json!({
//!     "apiVersion": "v1",
//!     "kind": "ConfigMap",
//!     "metadata": { "name": "settings", "namespace": "apps" },
//! })]);
//! objects.iter_mut().for_each(normalise::normalise);
//! let mut memory = Memory::default();
//! let changes = apply_in_stages(&cluster, &objects, &Options::default(), &mut memory).await?;
//! println!("{changes}"); // ConfigMap/apps/settings created
//! let inventory = inventory::of(&changes);
//! # Ok(())
//! # }
//! ```
//!
//! Decisions are pure functions: [`parse`], [`normalise`], [`order`], [`drift`], [`ignore`], [`inventory`], [`json_diff`].
//! [`apply_in_stages`], [`delete_all`] and [`wait_for_termination`] send requests, through [`flux_cluster`]. With a
//! [`Memory`] a run without changes costs one request per kind, and none where the kind is [`Watched`].
//!
//! The controllers build and decrypt manifests, and report conditions and events.

mod apply;
mod changes;
mod concurrency;
mod definitions;
pub mod drift;
mod error;
pub mod ignore;
pub mod inventory;
pub mod json_diff;
mod memory;
pub mod normalise;
pub mod order;
pub mod parse;
mod prune;
mod recreate;
mod sops;

pub use apply::{Options, apply_in_stages};
pub use changes::{Action, Change, ChangeSet};
pub use error::{ApplyError, Failed, Previous, StepError, dry_run_failure};
pub use memory::{Memory, Watched};
pub use prune::{
    PruneError, PruneOptions, Pruned, TerminationError, delete_all, wait_for_termination,
};
pub use sops::is_encrypted_secret;

#[cfg(test)]
mod tests {
    use flux_cluster::{Cluster, WaitOptions, wait_until_current};

    use super::{Memory, Options, PruneOptions, apply_in_stages, delete_all, wait_for_termination};

    /// Never run: it compiles only if the future is `Send`.
    #[allow(dead_code)]
    fn work_moves_between_threads(cluster: &'static Cluster, memory: &'static mut Memory) {
        fn is_send(_: impl Send) {}
        let (options, prune, wait) = (
            Options::default(),
            PruneOptions::default(),
            WaitOptions::default(),
        );
        is_send(apply_in_stages(cluster, &[], &options, memory));
        is_send(delete_all(cluster, &[], &prune));
        is_send(wait_until_current(cluster, &[], &wait));
        is_send(wait_for_termination(
            cluster,
            &super::ChangeSet::default(),
            std::time::Duration::ZERO,
        ));
    }
}
