//! Objects of any kind on a cluster: read, written, waited for.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use flux_cluster::{Cluster, Object, Target, WaitOptions, wait_until_current};
//!
//! # async fn example(client: kube::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::new(client, "helm-controller");
//! let object = Object::new(serde_json::json!({
//!     "apiVersion": "apps/v1",
//!     "kind": "Deployment",
//!     "metadata": { "name": "web", "namespace": "apps" },
//!     "spec": { "replicas": 2 },
//! }))
//! .ok_or("not an object")?;
//! let resource = cluster.resource_of(object.id(), object.version()).await?;
//! let stored = cluster.apply_strictly(&resource, &object, false).await?;
//! println!("{} is stored as {}", stored.id(), stored.resource_version());
//! let options = WaitOptions { timeout: Duration::from_mins(5), ..WaitOptions::default() };
//! wait_until_current(&cluster, &[Target::of(object.id(), object.version())], &options).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Cluster`] is a client with its identity, the kinds that [`Discovery`] has found, a field manager, a time limit
//! for requests, and the [`Confidential`] values that no message may show. Each of its methods is one request.
//! [`wait_until_current`] and [`wait_until_gone`] watch.
//!
//! The caller decides what is sent, in which order, and what follows from an error: `flux_apply` applies and prunes
//! sets of objects, `flux_release` performs the actions of Helm.

mod cluster;
mod confidential;
mod discovery;
mod error;
mod live;
pub mod managers;
mod object;
mod request;
mod wait;
mod writes;

pub use cluster::Cluster;
pub use confidential::Confidential;
pub use discovery::{Discovery, Resource};
pub use error::RequestError;
pub use live::{Event, Live, Page, Seen, Uid, Version, Versioned};
pub use object::{MalformedId, Metadata, Object, ObjectId};
pub use wait::{
    CustomRules, CustomRulesError, Rules, Target, WaitError, WaitOptions, is_current,
    is_current_as_written, wait_until_current, wait_until_gone, wait_until_replaced,
};
