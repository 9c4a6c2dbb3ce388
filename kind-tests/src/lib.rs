//! A real Kubernetes cluster for tests, and tools for tests on it.
//!
//! A test gets the shared cluster, creates its own namespace, starts controllers on the objects of that namespace, and
//! waits for conditions:
//!
//! ```no_run
//! use kind_tests::{Cluster, Namespace, CONFIG_MAP};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kind_tests::Result {
//! let cluster = Cluster::shared().await?;
//! let namespace = Namespace::create(&cluster, "example").await?;
//! namespace.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: greeting}, data: {text: hello}}").await?;
//! namespace.wait(CONFIG_MAP, "greeting", "greets", |map| map["data"]["text"] == "hello").await?;
//! # Ok(())
//! # }
//! ```
//!
//! The cluster is found in this order: the current context of `KUBECONFIG` if `FLUX_TEST_CLUSTER=kubeconfig`; a kind
//! cluster if Docker and kind work; otherwise a control plane of real Kubernetes programs, built once from Go modules
//! and cached (see [`cache::folder`]), with kwok simulating the nodes.
//!
//! Variables: `FLUX_TEST_CLUSTER`, `FLUX_TEST_CACHE`, `FLUX_TEST_DEADLINE` (seconds for each wait), `FLUX_TEST_KEEP`
//! (keep namespaces and clusters), `FLUX_TEST_BINARIES` (a folder of prebuilt controllers).
//!
//! Not part of this crate: Git servers (`kind-tests/git-servers`) and the comparison with the Go tools
//! (`kind-tests/oracle`).

mod applier;
mod artifacts;
pub mod bundle;
pub mod cache;
mod cluster;
mod collector;
mod conditions;
pub mod controller;
mod events;
mod failure;
mod flux;
pub mod flux_cli;
mod gate;
mod gitea;
mod go_program;
pub mod helm_cli;
pub mod image;
mod namespace;
pub mod node;
mod pod_cluster;
mod report;
pub mod requests;
mod writes;

pub use applier::Applier;
pub use artifacts::{Answer, ArtifactServer};
pub use cluster::{Cluster, FIELD_MANAGER, Settings, Source, free_ports};
pub use collector::{Collector, Span};
pub use controller::Controller;
pub use events::EventSink;
pub use failure::{Doing, Failure, Result};
pub use flux::Flux;
pub use gate::{Gate, Way};
pub use gitea::Gitea;
pub use image::Image;
pub use namespace::{
    ALERT, ARTIFACT_GENERATOR, BUCKET, CONFIG_MAP, DEPLOYMENT, EXTERNAL_ARTIFACT, GIT_REPOSITORY,
    HELM_CHART, HELM_RELEASE, HELM_REPOSITORY, IMAGE_POLICY, IMAGE_REPOSITORY,
    IMAGE_UPDATE_AUTOMATION, KUSTOMIZATION, Kind, Namespace, OCI_REPOSITORY, PROVIDER, RECEIVER,
    SECRET, SHARD_LABEL, condition, deadline, is_ready,
};
pub use node::Node;
pub use pod_cluster::PodCluster;
pub use writes::Writes;
