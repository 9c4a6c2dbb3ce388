//! Drift of a release: how the objects on the cluster differ from the manifest in its record, and its correction
//! (HC-DRIFT rows).

mod correct;
mod difference;
mod manifest;

use flux_api::meta::IgnoreRule;
use flux_apply::dry_run_failure;
use flux_apply::ignore::IgnoreRules;
use flux_cluster::managers::{Cleanup, FieldManager, Operation};
use flux_cluster::{Cluster, Object, RequestError, Resource};
use flux_errors::chain;
use flux_helm::Release;
use futures::stream::{self, StreamExt as _};

pub use self::correct::{Corrected, correct};
pub use self::difference::{Difference, Kind};
use self::manifest::{Desired, desired};
use crate::PARALLEL;
use crate::error::DriftError;

/// The label or annotation by which an object is excluded, with its value (HC-DRIFT-005).
const EXCLUSION: (&str, &str) = ("helm.toolkit.fluxcd.io/driftDetection", "disabled");

/// Options of the detection.
#[derive(Clone, Copy, Debug, Default)]
pub struct DriftOptions<'o> {
    /// Fields and objects that are not compared (HC-DRIFT-008, HC-DRIFT-009).
    pub ignore: &'o [IgnoreRule],
    /// Field managers whose fields are taken over before (HC-DRIFT-010).
    pub override_managers: &'o [String],
}

/// The differences that were found, and what could not be compared.
#[derive(Debug, Default)]
pub struct Detected {
    /// One for each object, in the order of the manifest.
    pub differences: Vec<Difference>,
    /// The errors; an error about one object does not stop the comparison of the others (HC-DRIFT-011).
    pub errors: Vec<DriftError>,
}

impl Detected {
    /// Whether an object is missing or has changed; excluded objects alone are no drift (HC-DRIFT-016).
    pub fn has_changes(&self) -> bool {
        let mut differences = self.differences.iter();
        differences.any(Difference::is_change)
    }

    /// A line for each object that is missing, excluded or has changed (HC-DRIFT-013).
    pub fn summary(&self) -> String {
        let lines = self.differences.iter();
        let lines: Vec<String> = lines.filter_map(Difference::line).collect();
        lines.join("\n")
    }

    /// The number of objects by kind of difference, for a log line (HC-DRIFT-015).
    pub fn brief(&self) -> String {
        let count = |is_kind: fn(&Kind) -> bool| {
            let differences = self.differences.iter();
            differences.filter(|each| is_kind(&each.kind)).count()
        };
        format!(
            "removed: {}, changed: {}, excluded: {}",
            count(|kind| matches!(kind, Kind::Removed)),
            count(|kind| matches!(kind, Kind::Changed { .. })),
            count(|kind| matches!(kind, Kind::Excluded)),
        )
    }

    /// The text of all errors, as Kubernetes joins them; `None` without any.
    pub fn error(&self) -> Option<String> {
        aggregate(self.errors.iter().map(|error| chain(error)).collect())
    }
}

/// Several texts as one list without repetitions; a single one as it is.
fn aggregate(mut texts: Vec<String>) -> Option<String> {
    let mut seen = std::collections::BTreeSet::new();
    texts.retain(|text| seen.insert(text.clone()));
    match texts.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("[{}]", many.join(", "))),
    }
}

/// Compares the objects of a record's manifest with the cluster, by a dry run of applying each (HC-DRIFT-002..011).
/// Hooks are not part of the manifest.
pub async fn detect(cluster: &Cluster, release: &Release, options: &DriftOptions<'_>) -> Detected {
    let mut detected = Detected::default();
    let rules = IgnoreRules::compile(options.ignore);
    let objects = match desired(cluster, release, &mut detected.errors).await {
        Ok(objects) => objects,
        Err(error) => return failed(detected, error),
    };
    if let Err(error) = take_over(cluster, &objects, options.override_managers).await {
        return failed(detected, error);
    }
    let rules = match rules {
        Ok(rules) => rules,
        Err(error) => return failed(detected, error.into()),
    };
    let compared: Vec<_> = objects
        .iter()
        .map(|desired| compare(cluster, desired, &rules))
        .collect();
    let mut compared = stream::iter(compared).buffered(PARALLEL);
    while let Some(result) = compared.next().await {
        match result {
            Ok(difference) => detected.differences.push(difference),
            Err(error) => detected.errors.push(error),
        }
    }
    drop(compared);
    detected
}

fn failed(mut detected: Detected, error: DriftError) -> Detected {
    detected.errors.push(error);
    detected
}

/// Gives the fields of other managers to this one (HC-DRIFT-010).
async fn take_over(
    cluster: &Cluster,
    objects: &[Desired],
    managers: &[String],
) -> Result<(), DriftError> {
    if managers.is_empty() {
        return Ok(());
    }
    let both = |name: &String| {
        [Operation::Apply, Operation::Update].map(|operation| FieldManager {
            prefix: name.clone(),
            exact: false,
            operation,
        })
    };
    let cleanup = Cleanup {
        managers: managers.iter().flat_map(both).collect(),
        ..Cleanup::default()
    };
    for desired in objects {
        let taken = async {
            let resource = desired.resource(cluster).await?;
            let live = match cluster.get_metadata(&resource, desired.object.id()).await {
                Err(error) if error.is_not_found() => return Ok(()),
                live => live?,
            };
            let patch = cleanup.patch(&live, cluster.field_manager());
            if !patch.is_empty() {
                let id = desired.object.id();
                cluster.json_patch(&resource, id, patch).await?;
            }
            Ok(())
        };
        taken.await.map_err(DriftError::TakeOver)?;
    }
    Ok(())
}

async fn compare(
    cluster: &Cluster,
    desired: &Desired,
    rules: &IgnoreRules,
) -> Result<Difference, DriftError> {
    let object = &desired.object;
    let exclusion = [(EXCLUSION.0.to_owned(), EXCLUSION.1.to_owned())];
    if object.carries_any(&exclusion) || rules.exclude(object) {
        return Ok(Difference::excluded(object));
    }
    let cluster = &masking(cluster, [Some(object), None]);
    let resource = desired.resource(cluster).await?;
    let live = match cluster.get(&resource, object.id()).await {
        Err(error) if error.is_not_found() => None,
        live => Some(live?),
    };
    if live
        .as_ref()
        .is_some_and(|live| live.carries_any(&exclusion))
    {
        return Ok(Difference::excluded(object));
    }
    let cluster = &masking(cluster, [Some(object), live.as_ref()]);
    let applied = dry_run(cluster, &resource, object).await?;
    match live {
        Some(live) if !applied.resource_version().is_empty() => {
            Ok(Difference::between(object, resource, live, applied, rules))
        }
        _ => Ok(Difference::removed(object, resource)),
    }
}

/// A dry run of applying an object.
async fn dry_run(
    cluster: &Cluster,
    resource: &Resource,
    object: &Object,
) -> Result<Object, DriftError> {
    let applied = cluster.apply(resource, object, true).await;
    applied.map_err(|error| DriftError::DryRun {
        text: dry_run_failure(object.id(), &error),
    })
}

/// The cluster with the values of Secrets among these masked in its messages.
fn masking(cluster: &Cluster, objects: [Option<&Object>; 2]) -> Cluster {
    let mut secrets = objects.into_iter().flatten();
    let mut confidential = (**cluster.confidential()).clone();
    let any = secrets.any(Object::is_secret);
    if !any {
        return cluster.clone();
    }
    for object in objects.into_iter().flatten() {
        confidential.add_secret(object);
    }
    cluster.masking(confidential)
}

impl From<RequestError> for DriftError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

#[cfg(test)]
mod tests;
