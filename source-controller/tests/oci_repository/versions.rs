//! Which version is chosen.

use kind_tests::{Result, ensure};
use registries::{Artifact, Registry, tar_gz};
use serde_json::json;

use crate::world::{APP, World, files};

// SC-OCI-040, SC-OCI-041
#[tokio::test]
async fn a_digest_precedes_a_range_and_a_range_a_tag() -> Result {
    let world = World::start("oci-refs", Registry::builder().page(2).start()).await?;
    let push = |tag: &str| world.push(tag, &[("v", tag)]);
    let [old, latest, highest] = ["v1.0.0", "latest", "v1.10.0"].map(push);
    let [next, _, _] = ["v2.0.0", "v1.9.0", "v1.11.0-rc.1"].map(push);
    let chart = Artifact::helm(tar_gz(&[("app/Chart.yaml", "name: app\n")]));
    let with_metadata = world.registry.push(APP, "3.0.0_up1.2", &chart);
    let media_type = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
    let of_chart =
        format!("ref: {{semver: '>=3.0.0'}}, layerSelector: {{mediaType: {media_type}}}");
    let all = format!("ref: {{digest: '{old}', semver: '*', tag: v2.0.0}}");
    for (name, spec, revision) in [
        ("none", "", format!("latest@{latest}")),
        ("tag", "ref: {tag: v2.0.0}", format!("v2.0.0@{next}")),
        // SC-OCI-045, SC-OCI-046
        (
            "range",
            "ref: {semver: '>=1.0.0 <2.0.0', tag: v2.0.0}",
            format!("v1.10.0@{highest}"),
        ),
        (
            "filter",
            "ref: {semver: '*', semverFilter: '^v1\\.0'}",
            format!("v1.0.0@{old}"),
        ),
        ("digest", &all, old.clone()),
        // SC-OCI-047
        ("chart", &of_chart, format!("3.0.0_up1.2@{with_metadata}")),
    ] {
        world.apply(name, spec).await?;
        let object = world.ready(name).await?;
        ensure!(
            object["status"]["artifact"]["revision"] == revision,
            "{name}: {object}"
        );
    }
    Ok(())
}

// SC-OCI-031, SC-OCI-044
#[tokio::test]
async fn a_moved_tag_makes_a_new_artifact() -> Result {
    let world = World::start("oci-move", Registry::start()).await?;
    let first = world.push("latest", &[("v", "1")]);
    world.apply("app", "").await?;
    let before = world.ready("app").await?;
    ensure!(
        before["status"]["artifact"]["revision"] == format!("latest@{first}"),
        "{before}"
    );
    let child = |digest: &str, os: &str| {
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
            "platform": {"os": os, "architecture": "amd64"},
        })
    };
    let (other, wanted) = (
        world.push("windows", &[("v", "windows")]),
        world.push("linux", &[("v", "linux")]),
    );
    let index = [child(&other, "windows"), child(&wanted, "linux")];
    let index = world.registry.push_index(APP, "latest", &index);
    let after = world.reconcile("app").await?;
    // SC-OCI-042: the revision is that of the index
    ensure!(
        after["status"]["artifact"]["revision"] == format!("latest@{index}"),
        "{after}"
    );
    assert_eq!(world.files(&after).await?, files(&[("v", "linux")]));
    Ok(())
}
