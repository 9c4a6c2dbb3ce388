//! The repository that the demo serves, and summaries of its objects.

use git_servers::Repo;
use kind_tests::{CONFIG_MAP, DEPLOYMENT, Flux, KUSTOMIZATION, Kind, Result};
use serde_json::Value;

const SERVICE: Kind = Kind("v1", "Service");

const KUSTOMIZATION_FILE: &str = "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
- web.yaml
- service.yaml
- settings.yaml
";

const WEB: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
      - name: web
        image: registry.k8s.io/pause:3.10
        ports:
        - containerPort: 8080
";

const SERVICE_FILE: &str = "apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector:
    app: web
  ports:
  - port: 80
    targetPort: 8080
";

const SETTINGS: &str = "apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  greeting: hello
";

/// The files of the first commit.
pub(crate) const FIRST: &[(&str, &str)] = &[
    ("deploy/kustomization.yaml", KUSTOMIZATION_FILE),
    ("deploy/web.yaml", WEB),
    ("deploy/service.yaml", SERVICE_FILE),
    ("deploy/settings.yaml", SETTINGS),
];

/// A Provider for the demo's own chat at this address, and an Alert about both objects.
pub(crate) fn notifications(address: &str) -> String {
    format!(
        "
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Provider
metadata:
  name: chat
spec:
  type: generic
  address: {address}
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Alert
metadata:
  name: app
spec:
  providerRef:
    name: chat
  eventSources:
  - kind: GitRepository
    name: app
  - kind: Kustomization
    name: app
"
    )
}

/// The changes of the second commit, for the user.
pub(crate) const CHANGES: &[&str] = &[
    "deploy/web.yaml         replicas: 2 -> 3",
    "deploy/settings.yaml    greeting: hello -> hello again",
    "deploy/service.yaml     removed",
];

/// Creates the second commit and returns its revision.
pub(crate) fn second(repo: &Repo) -> String {
    let commit = repo
        .commit("main")
        .file(
            "deploy/kustomization.yaml",
            KUSTOMIZATION_FILE.replace("- service.yaml\n", ""),
        )
        .file("deploy/web.yaml", WEB.replace("replicas: 2", "replicas: 3"))
        .file(
            "deploy/settings.yaml",
            SETTINGS.replace("hello", "hello again"),
        )
        .remove("deploy/service.yaml")
        .create();
    format!("main@sha1:{commit}")
}

/// The kinds and names of the objects in the Kustomization's inventory, and always of the Service, so that the table
/// shows when it is gone.
pub(crate) async fn inventory(flux: &Flux) -> Result<Vec<(Kind, String)>> {
    let object = flux
        .namespace
        .get(KUSTOMIZATION, "app")
        .await?
        .unwrap_or_default();
    let entries = object["status"]["inventory"]["entries"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut found: Vec<(Kind, String)> = entries
        .iter()
        .filter_map(|entry| read_id(entry["id"].as_str()?))
        .collect();
    let service = (SERVICE, "web".to_owned());
    if !found.contains(&service) {
        found.push(service);
    }
    Ok(found)
}

/// Parses `<namespace>_<name>_<group>_<kind>`.
fn read_id(id: &str) -> Option<(Kind, String)> {
    let parts: Vec<&str> = id.split('_').collect();
    let [_, name, group, kind] = parts.as_slice() else {
        return None;
    };
    let known = [DEPLOYMENT, SERVICE, CONFIG_MAP];
    let is_it = |known: &&Kind| {
        known.1 == *kind && known.0.rsplit_once('/').map_or("", |(group, _)| group) == *group
    };
    Some((*known.iter().find(is_it)?, (*name).to_owned()))
}

/// A short summary of an object's state.
pub(crate) fn state(object: &Value) -> String {
    match object["kind"].as_str() {
        Some("Deployment") => {
            let ready = object["status"]["readyReplicas"].as_u64().unwrap_or(0);
            format!("{ready} of {} pods ready", object["spec"]["replicas"])
        }
        Some("ConfigMap") => format!(
            "greeting: {}",
            object["data"]["greeting"].as_str().unwrap_or_default()
        ),
        Some("Service") => format!(
            "address {}",
            object["spec"]["clusterIP"].as_str().unwrap_or_default()
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inventory_ids_name_kind_and_object() {
        assert_eq!(
            read_id("demo_web_apps_Deployment"),
            Some((DEPLOYMENT, "web".to_owned()))
        );
        assert_eq!(
            read_id("demo_settings__ConfigMap"),
            Some((CONFIG_MAP, "settings".to_owned()))
        );
        assert_eq!(read_id("demo_web_extensions_Deployment"), None);
        assert_eq!(read_id("nonsense"), None);
    }
}
