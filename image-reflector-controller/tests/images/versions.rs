//! Manifests of older versions of the API, as tutorials still have them.

use kind_tests::{IMAGE_POLICY, IMAGE_REPOSITORY, Kind, Result, ensure};
use registries::Registry;
use serde_json::json;

use crate::world::World;

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
