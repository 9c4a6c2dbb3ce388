//! Helm releases on a cluster: their records in Secrets, and the steps of their actions.
//!
//! ```no_run
//! use flux_cluster::Cluster;
//! use flux_helm::{Values, action::{Draft, InstallOptions}};
//! use flux_release::{FIELD_MANAGER, Options, Releaser, SchemaDocuments, render};
//! # async fn example(client: kube::Client, chart: flux_helm::ParsedChart) -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::new(client, FIELD_MANAGER);
//! let releaser = Releaser::new(cluster, "apps", Options::default());
//! let install = releaser.install(InstallOptions::new("web", "apps")).await?;
//! let options = flux_helm::RenderOptions::new("web", "apps");
//! let documents = SchemaDocuments::from_environment(&flux_budget::Budget::unlimited());
//! let cluster = releaser.cluster();
//! let rendered = render(cluster, chart.clone(), Values::new(), options, &documents).await?;
//! let draft = Draft::new(chart.chart(), Values::new(), rendered);
//! let mut stored = |record: &flux_helm::Release| println!("{} is {}", record.revision, record.status());
//! let action = install.start(draft, flux_release::now());
//! let performed = releaser.perform(action, &mut stored, std::future::pending()).await;
//! performed.result.map_err(Into::into)
//! # }
//! ```
//!
//! [`flux_helm::action`] decides which steps an action consists of, and what follows from an error; this crate performs
//! them with the caller's client, on its cluster and with its identity. Waits use watches.
//!
//! | upstream rows | where |
//! |---|---|
//! | records (HE-REL-013, HE-ACT-040, HC-REL-002..009) | [`Records`] |
//! | whether the cluster answers (HE-ACT-001) | [`Releaser::install`] and the other actions |
//! | order and parallelism of requests (HE-KUBE-005..007, HE-ACT-034) | `create`, `update`, `delete` |
//! | ownership of what is deleted (HE-ACT-038) | `delete` |
//! | adoption of objects that exist (HE-ACT-008, HE-ACT-009) | `adopt` |
//! | hooks (HE-HOOK-006..010) | `hook` |
//! | waiting (HE-KUBE-021, HC-WAIT) | `waiting`, `legacy` |
//! | `lookup` in templates (HE-ENG-014, HE-ENG-015) | [`render`] |
//! | post-renderers (HC-POST) | [`post_render`] |
//! | drift (HC-DRIFT) | [`drift`] |
//! | snapshots in a HelmRelease's status (HC-ACT-076..088) | [`snapshot`] |
//!
//! | definitions in a chart's `crds` folder (HC-CRD) | [`Releaser::apply_definitions`] |
//! | `.Capabilities` (HE-OBJ-008..010) | [`Releaser::capabilities`] |
//!
//! The caller renders charts, and writes the status of a HelmRelease.

mod adopt;
mod capabilities;
mod convert;
mod create;
mod definitions;
mod delete;
pub mod drift;
mod error;
mod hook;
mod kinds;
mod legacy;
mod log;
mod lookup;
pub mod post_render;
mod records;
mod releaser;
mod run;
mod schemas;
pub mod snapshot;
mod update;
mod values;
mod waiting;

pub use definitions::{AppliedDefinitions, CrdPolicy};
pub use error::{
    BeginError, DefinitionsError, DriftError, LegacyError, PerformError, RecordsError,
    SnapshotError, StepError, VerifyError,
};
pub use log::{HelmLog, LogLevel, NoLog};
pub use lookup::{ClusterLookup, MAX_LOOKUP_BYTES, render};
pub use records::{MAX_HISTORY_BYTES, Newest, Records};
pub use releaser::{Options, Performed, Propagation, Releaser, now};
pub use schemas::{
    ALLOW_PRIVATE, MAX_CHART_DOCUMENTS, MAX_DOCUMENT_BYTES, MAX_DOCUMENTS_BYTES, SchemaDocuments,
};
pub use values::values_of;

/// The field manager of every write (HE-KUBE-001).
pub const FIELD_MANAGER: &str = "helm-controller";

/// How many requests for objects of one kind are sent concurrently.
const PARALLEL: usize = 8;
