//! Types, suspension, deletion.

use kind_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::plain;

#[tokio::test]
async fn type_oci_is_static() -> Result {
    let world = plain("helm-static").await?;
    world.repository("charts", "").await?;
    world.ready("charts").await?;
    ensure!(!world.stored("charts").is_empty(), "nothing is stored");
    let oci = json!({"spec": {"type": "oci", "url": "oci://127.0.0.1:1/charts"}});
    world.namespace.merge(world.kind, "charts", oci).await?;
    let empty = |object: &Value| {
        object["metadata"]["finalizers"].is_null()
            && object["status"]
                .as_object()
                .is_none_or(serde_json::Map::is_empty)
    };
    // SC-HREPO-011
    world
        .namespace
        .wait(world.kind, "charts", "is static", empty)
        .await?;
    ensure!(
        world.stored("charts").is_empty(),
        "{:?}",
        world.stored("charts")
    );

    // SC-HREPO-014
    let url = world.git.url("charts");
    let default = json!({"spec": {"type": "default", "url": url}});
    world.namespace.merge(world.kind, "charts", default).await?;
    world.ready("charts").await?;

    // SC-HREPO-010, SC-HREPO-012
    world
        .repository_at("new", "type: oci, url: 'oci://127.0.0.1:1/charts'")
        .await?;
    world
        .namespace
        .wait(world.kind, "new", "is static", empty)
        .await?;
    ensure!(world.told("new").is_empty(), "{:?}", world.told("new"));
    Ok(())
}

// SC-ART-045, SC-PROC-057, SC-PROC-088
#[tokio::test]
async fn a_suspended_object_is_left_alone_and_a_deleted_one_cleaned_up() -> Result {
    let world = plain("helm-delete").await?;
    world.repository("charts", "").await?;
    let before = world.ready("charts").await?;
    let suspend = json!({"spec": {"suspend": true}});
    world.namespace.merge(world.kind, "charts", suspend).await?;
    world.git.clear_requests();
    let after = world.reconcile("charts").await?;
    ensure!(
        after["status"]["artifact"] == before["status"]["artifact"],
        "{after}"
    );
    ensure!(
        world.git.requests().is_empty(),
        "{:?}",
        world.git.requests()
    );

    world.namespace.delete(world.kind, "charts").await?;
    world.namespace.wait_gone(world.kind, "charts").await?;
    ensure!(
        world.stored("charts").is_empty(),
        "{:?}",
        world.stored("charts")
    );
    Ok(())
}
