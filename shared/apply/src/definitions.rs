//! Waits until the server serves the kinds of new CRDs.

use std::time::Duration;

use flux_cluster::{Cluster, Object};
use serde_json::Value;
use tokio::time::Instant;

/// The pause before the second request; each further one is twice as long, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// A kind in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    group: String,
    version: String,
    kind: String,
}

/// The kinds that a CustomResourceDefinition defines, in each version that is served.
pub(crate) fn served(definition: &Object) -> Vec<Served> {
    let text = |path: &[&str]| definition.at(path).and_then(Value::as_str);
    let (Some(group), Some(kind)) = (text(&["spec", "group"]), text(&["spec", "names", "kind"]))
    else {
        return Vec::new();
    };
    if !definition.is_crd() {
        return Vec::new();
    }
    let versions = definition
        .at(&["spec", "versions"])
        .and_then(Value::as_array);
    let versions = versions.into_iter().flatten();
    versions
        .filter(|version| version["served"] == Value::Bool(true))
        .filter_map(|version| version["name"].as_str())
        .map(|version| Served {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
        })
        .collect()
}

/// Waits until the cluster serves these kinds, for `timeout` at most.
///
/// A CRD is established before the server's discovery knows its kind. Upstream polls every two seconds and so hardly
/// ever sees that gap; objects that are applied immediately do, and so does a Kustomization that depends on this one.
/// After the timeout the request that needs the kind fails.
pub(crate) async fn wait_until_listed(cluster: &Cluster, kinds: Vec<Served>, timeout: Duration) {
    let deadline = Instant::now() + timeout;
    for kind in kinds {
        let mut pause = FIRST_PAUSE;
        loop {
            let Served {
                group,
                version,
                kind,
            } = &kind;
            if matches!(cluster.serves_kind(group, version, kind).await, Ok(true)) {
                break;
            }
            if Instant::now() + pause >= deadline {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use flux_cluster::Object;
    use serde_json::json;

    use super::{Served, served};

    #[test]
    fn a_definition_serves_only_its_served_versions() {
        let definition = |api_version: &str, kind: &str| {
            Object::new(json!({
                "apiVersion": api_version, "kind": kind, "metadata": { "name": "things.example.com" },
                "spec": { "group": "example.com", "names": { "kind": "Thing", "plural": "things" }, "versions": [
                    { "name": "v1", "served": true }, { "name": "v1beta1", "served": false }, { "name": "v2", "served": true },
                ] },
            }))
            .unwrap()
        };
        let of = |version: &str| Served {
            group: "example.com".into(),
            version: version.into(),
            kind: "Thing".into(),
        };
        let crd = definition("apiextensions.k8s.io/v1", "CustomResourceDefinition");
        assert_eq!(served(&crd), [of("v1"), of("v2")]);
        assert_eq!(served(&definition("v1", "ConfigMap")), []);
    }
}
