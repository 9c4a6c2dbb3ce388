//! Helm releases on a cluster: their records as Secrets, and the steps of an action carried out.
//!
//! ```no_run
//! use flux_apply::Cluster;
//! use flux_helm::{Values, action::{Draft, InstallOptions}};
//! use flux_release::{FIELD_MANAGER, Options, Releaser, render};
//! # async fn example(client: kube::Client, chart: flux_helm::ParsedChart) -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::new(client, FIELD_MANAGER);
//! let releaser = Releaser::new(cluster, "apps", Options::default());
//! let install = releaser.install(InstallOptions::new("web", "apps")).await?;
//! let options = flux_helm::RenderOptions::new("web", "apps");
//! let rendered = render(releaser.cluster(), chart.clone(), Values::new(), options).await?;
//! let draft = Draft::new(chart.chart(), Values::new(), rendered);
//! let mut stored = |record: &flux_helm::Release| println!("{} is {}", record.revision, record.status());
//! let action = install.start(draft, flux_release::now());
//! let performed = releaser.perform(action, &mut stored, std::future::pending()).await;
//! performed.result.map_err(Into::into)
//! # }
//! ```
//!
//! What an action consists of, and the text of each error, is decided by [`flux_helm::action`]; here its steps are carried
//! out with the client that the caller hands in, whoever that acts as and wherever it leads. Waiting watches.
//!
//! | upstream rows | where |
//! |---|---|
//! | records (HE-REL-013, HE-ACT-040, HC-REL-002..009) | [`Records`] |
//! | whether the cluster answers (HE-ACT-001) | [`Releaser::install`] and its like |
//! | order and parallelism of requests (HE-KUBE-005..007, HE-ACT-034) | `create`, `update`, `delete` |
//! | whose what is deleted is (HE-ACT-038) | `delete` |
//! | hooks (HE-HOOK-006..010) | `hook` |
//! | waiting (HE-KUBE-021, HC-WAIT) | `waiting`, `legacy` |
//! | `lookup` in templates (HE-ENG-014, HE-ENG-015) | [`render`] |
//!
//! Rendering, the definitions in a chart's `crds` folder, drift and what a HelmRelease says of all this are the caller's.

#![forbid(unsafe_code)]

mod build;
mod create;
mod delete;
mod error;
mod existing;
mod hook;
mod legacy;
mod live;
mod lookup;
mod records;
mod releaser;
mod run;
mod update;
mod waiting;

pub use error::{BeginError, RecordsError};
pub use lookup::{ClusterLookup, MAX_LOOKUP_BYTES, render};
pub use records::{MAX_HISTORY_BYTES, Records};
pub use releaser::{Options, Performed, Propagation, Releaser, now};

/// The field manager of every write (HE-KUBE-001).
pub const FIELD_MANAGER: &str = "helm-controller";

/// How many requests for objects of one kind are under way at once.
const PARALLEL: usize = 8;
