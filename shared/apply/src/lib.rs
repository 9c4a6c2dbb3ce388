//! Brings objects onto a cluster by server-side apply, and keeps track of them.
//!
//! ```no_run
//! use flux_apply::{Cluster, Memory, Options, apply_in_stages, inventory, parse};
//!
//! # async fn example(client: kube::Client) -> Result<(), flux_apply::Failed> {
//! let cluster = Cluster::new(client, "kustomize-controller");
//! let objects = parse::objects([serde_json::json!({
//!     "apiVersion": "v1",
//!     "kind": "ConfigMap",
//!     "metadata": { "name": "settings", "namespace": "apps" },
//! })]);
//! let mut memory = Memory::default();
//! let changes = apply_in_stages(&cluster, objects, &Options::default(), &mut memory).await?;
//! println!("{changes}"); // ConfigMap/apps/settings created
//! let inventory = inventory::of(&changes);
//! # Ok(())
//! # }
//! ```
//!
//! What decides is pure: [`parse`], [`normalise`], [`order`], [`drift`], [`managers`], [`ignore`], [`inventory`]. What acts is
//! [`apply_in_stages`], [`delete_all`], [`wait_until_current`] and [`wait_for_termination`]. A [`Memory`] makes a run that
//! changes nothing cost one request per kind.
//!
//! Building manifests, decrypting them and saying in conditions what happened is left to the controllers.

#![forbid(unsafe_code)]

mod apply;
mod changes;
mod cluster;
mod concurrency;
mod confidential;
mod definitions;
mod discovery;
pub mod drift;
mod error;
pub mod ignore;
pub mod inventory;
pub mod managers;
mod memory;
pub mod normalise;
mod object;
pub mod order;
pub mod parse;
mod prune;
mod recreate;
mod request;
mod sops;
mod wait;
mod writes;

pub use apply::{Options, apply_in_stages};
pub use changes::{Action, Change, ChangeSet};
pub use cluster::Cluster;
pub use confidential::Confidential;
pub use discovery::{Discovery, Resource};
pub use error::{ApplyError, Failed, Previous, RequestError, StepError};
pub use memory::{Memory, Version};
pub use object::{MalformedId, Metadata, Object, ObjectId};
pub use prune::{
    PruneError, PruneOptions, Pruned, TerminationError, delete_all, wait_for_termination,
};
pub use sops::is_encrypted_secret;
pub use wait::{
    Rules, Target, WaitError, WaitOptions, is_current, wait_until_current, wait_until_gone,
};

#[cfg(test)]
mod tests {
    use super::{
        Cluster, Memory, Options, PruneOptions, WaitOptions, apply_in_stages, delete_all,
        wait_for_termination, wait_until_current,
    };

    /// Never run: it compiles where the work may move between threads.
    #[allow(dead_code)]
    fn work_moves_between_threads(cluster: &'static Cluster, memory: &'static mut Memory) {
        fn is_send(_: impl Send) {}
        let (options, prune, wait) = (
            Options::default(),
            PruneOptions::default(),
            WaitOptions::default(),
        );
        is_send(apply_in_stages(cluster, Vec::new(), &options, memory));
        is_send(delete_all(cluster, &[], &prune));
        is_send(wait_until_current(cluster, &[], &wait));
        is_send(wait_for_termination(
            cluster,
            &super::ChangeSet::default(),
            std::time::Duration::ZERO,
        ));
    }
}
