//! The objects that a webhook asks to reconcile: found and annotated (NC-RECV-090 to NC-RECV-111).

use std::sync::LazyLock;
use std::time::Instant;

use flux_api::notification::{FluxKind as K, ReceiverResource};
use flux_cel::EvaluateError;
use flux_cluster::{Cluster, Object, ObjectId, RequestError, Resource};
use flux_golang::strconv::quote;
use flux_runtime::run::REQUESTED_AT;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::LOGGER;

/// When this process began, of which Go's times tell.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Why an object was not asked to reconcile.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    #[error("cross-namespace references are not allowed")]
    CrossNamespace,
    #[error("apiVersion must be specified for kind {0}")]
    NoVersion(String),
    #[error("matchLabels field not set when using wildcard '*' as name")]
    NoLabels,
    #[error("unable to find the kind {0}: {1}")]
    Kind(String, RequestError),
    #[error("unable to read {kind} {name} error: {error}")]
    Read {
        kind: String,
        name: String,
        error: RequestError,
    },
    #[error("failed listing resources in namespace {namespace} by matching labels: {error}")]
    List {
        namespace: String,
        error: RequestError,
    },
    #[error(transparent)]
    Filter(#[from] EvaluateError),
    #[error(
        "failed to annotate resource: '{shown}': unable to annotate {kind} {name} error: {error}"
    )]
    Annotate {
        shown: String,
        kind: String,
        name: String,
        error: Box<RequestError>,
    },
}

/// Whether an object is to be asked.
pub(super) type Accepts<'f> = &'f (dyn Fn(&Value) -> Result<bool, EvaluateError> + Sync);

/// Asks objects to reconcile.
pub(super) struct Targets {
    cluster: Cluster,
    no_cross_namespace: bool,
}

impl Targets {
    /// The objects of a cluster.
    pub(super) fn new(cluster: Cluster, no_cross_namespace: bool) -> Self {
        LazyLock::force(&STARTED);
        Self {
            cluster,
            no_cross_namespace,
        }
    }

    /// Asks the objects of one entry to reconcile that `accepts` selects; `own` is the namespace of the Receiver, and
    /// `about` what log lines tell of it.
    pub(super) async fn request(
        &self,
        wanted: &ReceiverResource,
        own: &str,
        accepts: Accepts<'_>,
        about: &Value,
    ) -> Result<(), TargetError> {
        let named = wanted.namespace.as_deref().filter(|name| !name.is_empty());
        // NC-RECV-092
        if self.no_cross_namespace && named.is_some_and(|name| name != own) {
            return Err(TargetError::CrossNamespace);
        }
        let namespace = named.unwrap_or(own); // NC-RECV-090
        let version = api_version(wanted)?;
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let id = ObjectId {
            group: group.to_owned(),
            kind: wanted.kind.as_str().to_owned(),
            namespace: namespace.to_owned(),
            name: wanted.name.clone(),
        };
        if wanted.name == "*" {
            let labels = wanted.match_labels.as_ref().ok_or(TargetError::NoLabels)?;
            let labels: Vec<String> = labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let resource = self.resource(&id, version).await?;
            return self
                .request_all(&resource, namespace, &labels.join(","), accepts, about)
                .await;
        }
        let resource = self.resource(&id, version).await?;
        // NC-RECV-093
        let found = self.cluster.get_metadata(&resource, &id).await;
        let found = found.map_err(|error| TargetError::Read {
            kind: id.kind.clone(),
            name: quote(format!("{namespace}/{}", id.name)),
            error,
        })?;
        if !is_accepted(&resource, &found, accepts, about)? {
            return Ok(());
        }
        self.annotate(&resource, &id, about).await
    }

    /// The kind in this version, or in another that is served if this one is not (FR-N-055).
    async fn resource(&self, id: &ObjectId, version: &str) -> Result<Resource, TargetError> {
        let error = match self.cluster.resource_of(id, version).await {
            Ok(resource) => return Ok(resource),
            Err(error) => error,
        };
        match self.cluster.preferred_resource_of(id).await {
            Ok(resource) => {
                tracing::info!(
                    logger = LOGGER,
                    kind = id.kind,
                    version,
                    served = resource.version,
                    "the version of a resource is not served, using one that is"
                );
                Ok(resource)
            }
            Err(_) => Err(TargetError::Kind(quote(&id.kind), error)),
        }
    }

    /// NC-RECV-094 to NC-RECV-096
    async fn request_all(
        &self,
        resource: &Resource,
        namespace: &str,
        selector: &str,
        accepts: Accepts<'_>,
        about: &Value,
    ) -> Result<(), TargetError> {
        let listed = self
            .cluster
            .list_metadata(resource, Some(namespace), selector)
            .await;
        let objects: Vec<Object> = listed.map_err(|error| TargetError::List {
            namespace: quote(namespace),
            error,
        })?;
        if objects.is_empty() {
            let error = format!(
                "no {} resources found with matching labels in {} namespace",
                quote(&resource.kind),
                quote(namespace)
            );
            let kv = about.to_string();
            tracing::error!(logger = LOGGER, kv, error, "error annotating resources");
            return Ok(());
        }
        for object in objects {
            if !is_accepted(resource, &object, accepts, about)? {
                continue;
            }
            let id = ObjectId {
                group: resource.group.clone(),
                kind: resource.kind.clone(),
                namespace: namespace.to_owned(),
                name: object.name().to_owned(),
            };
            self.annotate(resource, &id, about).await?;
        }
        Ok(())
    }

    /// NC-RECV-097, NC-RECV-098
    async fn annotate(
        &self,
        resource: &Resource,
        id: &ObjectId,
        about: &Value,
    ) -> Result<(), TargetError> {
        let at = go_time(Timestamp::now(), STARTED.elapsed());
        let patch = json!({"metadata": {"annotations": {(REQUESTED_AT): at}}}).to_string();
        let media_type = "application/merge-patch+json";
        let shown = format!("{}/{}.{}", id.kind, id.name, id.namespace);
        let patched = self.cluster.patch(resource, id, media_type, patch).await;
        patched.map_err(|error| TargetError::Annotate {
            shown: shown.clone(),
            kind: id.kind.clone(),
            name: quote(format!("{}/{}", id.namespace, id.name)),
            error: error.into(),
        })?;
        // NC-RECV-099
        let kv = about.to_string();
        tracing::info!(logger = LOGGER, kv, "resource '{shown}' annotated");
        Ok(())
    }
}

/// Whether the filters accept an object: they see its version, kind and metadata (NC-RECV-102).
fn is_accepted(
    resource: &Resource,
    object: &Object,
    accepts: Accepts<'_>,
    about: &Value,
) -> Result<bool, TargetError> {
    let seen = json!({
        "apiVersion": resource.api_version(),
        "kind": resource.kind,
        "metadata": object.at(&["metadata"]),
    });
    let accepted = accepts(&seen)?;
    if !accepted {
        // NC-RECV-099
        let kv = about.to_string();
        tracing::debug!(
            logger = LOGGER,
            kv,
            "resource '{}/{}.{}' NOT annotated because CEL expression returned false",
            resource.kind,
            object.name(),
            object.namespace()
        );
    }
    Ok(accepted)
}

/// The version of an entry's kind (NC-RECV-091).
fn api_version(wanted: &ReceiverResource) -> Result<&str, TargetError> {
    if let Some(version) = wanted
        .api_version
        .as_deref()
        .filter(|version| !version.is_empty())
    {
        return Ok(version);
    }
    match &wanted.kind {
        K::Bucket | K::HelmChart | K::HelmRepository | K::GitRepository | K::OCIRepository => {
            Ok("source.toolkit.fluxcd.io/v1")
        }
        K::ImageRepository => Ok("image.toolkit.fluxcd.io/v1"),
        K::ArtifactGenerator => Ok("source.extensions.fluxcd.io/v1beta1"),
        other => Err(TargetError::NoVersion(quote(other.as_str()))),
    }
}

/// A time as Go's `Time.String` writes the current one: with the time since the process began (NC-RECV-097).
fn go_time(now: Timestamp, since: std::time::Duration) -> String {
    let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or_default();
    let layout = b"2006-01-02 15:04:05.999999999 -0700 MST";
    let text = flux_golang::time::format(layout, now.as_second(), nanoseconds, 0, "UTC");
    format!(
        "{} m=+{}.{:09}",
        String::from_utf8_lossy(&text),
        since.as_secs(),
        since.subsec_nanos()
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn kinds_have_a_version_where_upstream_knows_one() {
        // NC-RECV-091
        for (kind, version, want) in [
            ("GitRepository", None, Some("source.toolkit.fluxcd.io/v1")),
            ("Bucket", Some(""), Some("source.toolkit.fluxcd.io/v1")),
            ("ImageRepository", None, Some("image.toolkit.fluxcd.io/v1")),
            (
                "ArtifactGenerator",
                None,
                Some("source.extensions.fluxcd.io/v1beta1"),
            ),
            ("Kustomization", None, None),
            ("Kustomization", Some("a/v1"), Some("a/v1")),
        ] {
            let wanted = ReceiverResource {
                kind: K::from(kind),
                api_version: version.map(str::to_owned),
                ..ReceiverResource::default()
            };
            let found = api_version(&wanted);
            assert_eq!(found.as_ref().ok().copied(), want, "{kind}");
            if let Err(error) = found {
                let text = "apiVersion must be specified for kind \"Kustomization\"";
                assert_eq!(error.to_string(), text);
            }
        }
    }

    #[test]
    fn times_are_written_as_by_go() {
        // NC-RECV-097
        let now: Timestamp = "2026-08-07T16:12:44.123456789Z".parse().unwrap();
        assert_eq!(
            go_time(now, Duration::from_millis(12_300)),
            "2026-08-07 16:12:44.123456789 +0000 UTC m=+12.300000000"
        );
        let whole: Timestamp = "2026-08-07T16:12:44.5Z".parse().unwrap();
        assert_eq!(
            go_time(whole, Duration::from_secs(1)),
            "2026-08-07 16:12:44.5 +0000 UTC m=+1.000000000"
        );
    }
}
