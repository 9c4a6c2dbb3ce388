//! Manifests of older versions of the API, as tutorials still have them.

use kind_tests::{IMAGE_POLICY, IMAGE_REPOSITORY, Kind, Result, condition, ensure};
use registries::Registry;
use serde_json::json;

use crate::world::World;

const DEFINITION: Kind = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition");
const OLD: Kind = Kind("image.toolkit.fluxcd.io/v1beta2", "ImagePolicy");

// IR-REPO-004, IR-POL-003, IR-POL-004
#[tokio::test]
async fn manifests_of_older_versions_apply_as_written() -> Result {
    let world = World::start("img-versions", Registry::start()).await?;
    world.push(&["1.0.0", "1.1.0"]);
    let image = world.image();
    for version in ["v1beta1", "v1beta2"] {
        let yaml = format!(
            "
apiVersion: image.toolkit.fluxcd.io/{version}
kind: ImageRepository
metadata: {{name: {version}}}
spec:
  image: {image}
  interval: 1h
---
apiVersion: image.toolkit.fluxcd.io/{version}
kind: ImagePolicy
metadata: {{name: {version}}}
spec:
  imageRepositoryRef: {{name: {version}}}
  filterTags: {{pattern: '^1[.]'}}
  policy: {{semver: {{range: 1.x}}}}
"
        );
        world.namespace.apply(&yaml).await?;
        world.scanned(version).await?;
        world.selected(version, "1.1.0").await?;
    }
    // IR-REPO-007
    for version in ["v1beta1", "v1beta2"] {
        let object = world.scanned(version).await?;
        let ready = condition(&object, "Ready").cloned().unwrap_or_default();
        assert_eq!(ready["reason"], "Succeeded");
    }
    // IR-REPO-006: what v1beta1 did not know is there in the current version
    let object = world
        .namespace
        .get(IMAGE_REPOSITORY, "v1beta1")
        .await?
        .unwrap_or_default();
    assert_eq!(object["status"]["lastScanResult"]["tagCount"], 2);
    assert_eq!(object["spec"]["exclusionList"], json!(["^.*\\.sig$"]));
    let object = world
        .namespace
        .get(OLD, "v1beta1")
        .await?
        .unwrap_or_default();
    ensure!(object["status"]["latestRef"]["tag"] == "1.1.0", "{object}");
    let object = world
        .namespace
        .get(IMAGE_POLICY, "v1beta2")
        .await?
        .unwrap_or_default();
    assert_eq!(object["status"]["latestRef"]["name"], image);
    Ok(())
}

/// Upstream's 2.10 serves `v1` only. Here the older versions are served too: which they are, and that nothing but `v1` is
/// stored, without a webhook.
#[tokio::test]
async fn only_the_current_version_is_stored() -> Result {
    let world = World::start("img-definitions", Registry::start()).await?;
    for plural in ["imagerepositories", "imagepolicies"] {
        let name = format!("{plural}.image.toolkit.fluxcd.io");
        let definition = world.namespace.get(DEFINITION, &name).await?;
        let spec = definition.unwrap_or_default()["spec"].clone();
        let versions = spec["versions"].as_array().cloned().unwrap_or_default();
        // IR-REPO-002, IR-REPO-003, IR-REPO-005
        let found: Vec<_> = versions
            .iter()
            .map(|it| json!([it["name"], it["served"], it["storage"], it["deprecated"]]))
            .collect();
        assert_eq!(
            found,
            [
                json!(["v1", true, true, null]),
                json!(["v1beta2", true, false, true]),
                json!(["v1beta1", true, false, true]),
            ],
            "{plural}"
        );
        ensure!(
            versions
                .iter()
                .all(|it| it["subresources"]["status"].is_object()),
            "{plural}: status"
        );
        // The API server fills in the default.
        assert_eq!(spec["conversion"], json!({"strategy": "None"}));
    }
    Ok(())
}

/// What tutorials have their readers apply, of the version before the current one.
#[tokio::test]
async fn manifests_of_tutorials_apply() -> Result {
    let world = World::start("img-tutorial", Registry::start()).await?;
    world.push(&["v1.0.0", "v1.1.0", "v2.0.0", "main-abc-2", "main-def-1"]);
    let yaml = format!(
        r#"
apiVersion: image.toolkit.fluxcd.io/v1beta2
kind: ImageRepository
metadata: {{name: orders}}
spec: {{image: {image}, interval: 5m}}
---
apiVersion: image.toolkit.fluxcd.io/v1beta2
kind: ImagePolicy
metadata: {{name: orders-production}}
spec:
  imageRepositoryRef: {{name: orders}}
  policy: {{semver: {{range: ">=1.0.0 <2.0.0"}}}}
  filterTags: {{pattern: '^v(?P<version>[0-9]+\.[0-9]+\.[0-9]+)$', extract: '$version'}}
---
apiVersion: image.toolkit.fluxcd.io/v1beta2
kind: ImagePolicy
metadata: {{name: orders-staging}}
spec:
  imageRepositoryRef: {{name: orders}}
  policy: {{alphabetical: {{order: desc}}}}
  filterTags: {{pattern: '^main-[a-f0-9]+-(?P<ts>[0-9]+)$', extract: '$ts'}}
"#,
        image = world.image()
    );
    world.namespace.apply(&yaml).await?;
    // IR-REPO-004
    world.selected("orders-production", "v1.1.0").await?;
    world.selected("orders-staging", "main-def-1").await?;
    Ok(())
}
