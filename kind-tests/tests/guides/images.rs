//! Image updates.

use kind_tests::{
    GIT_REPOSITORY, IMAGE_POLICY, IMAGE_REPOSITORY, IMAGE_UPDATE_AUTOMATION, Result, ensure,
};
use serde_json::{Value, json};

use crate::world::World;

const PAGE: &str = "image-updates.md";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_about_image_updates_works_as_written() -> Result {
    let controllers = ["image-reflector-controller", "image-automation-controller"];
    let world = World::start(&controllers).await?;
    let first = world.repo.rev_parse("main");
    let credentials = [
        "Secret git-auth",
        "GitRepository shop",
        "Secret registry-auth",
    ];
    world
        .apply(&world.pages.of_page("sources.md", &credentials)?)
        .await?;
    world.apply(&world.pages.page(PAGE)?).await?;
    let system = &world.system;
    let scanned = system
        .wait_ready(IMAGE_REPOSITORY, "orders", "True")
        .await?;
    ensure!(
        scanned["status"]["lastScanResult"]["tagCount"] == 6,
        "{scanned}"
    );
    for (name, tag) in [
        ("orders-production", "v1.5.2"),
        ("orders-staging", "main-0a1b2c3-1764000500"),
    ] {
        let policy = system.wait_ready(IMAGE_POLICY, name, "True").await?;
        ensure!(policy["status"]["latestRef"]["tag"] == tag, "{policy}");
    }
    // The order that tutorials show gives the oldest build, as the page says.
    let order = json!({"spec": {"policy": {"alphabetical": {"order": "desc"}}}});
    system.merge(IMAGE_POLICY, "orders-staging", order).await?;
    let oldest = |policy: &Value| policy["status"]["latestRef"]["tag"] == "main-4f2c9e1-1764000000";
    system
        .wait(IMAGE_POLICY, "orders-staging", "has the oldest", oldest)
        .await?;

    let pushed = |object: &Value| {
        let commit = object["status"]["lastPushCommit"].as_str();
        commit.is_some_and(|commit| commit != first) && kind_tests::is_ready(object, "True")
    };
    let automation = system
        .wait(IMAGE_UPDATE_AUTOMATION, "shop", "has pushed", pushed)
        .await?;
    let head = world.repo.rev_parse("main");
    ensure!(
        automation["status"]["lastPushCommit"] == *head,
        "{automation}"
    );
    let message = world
        .repo
        .git(&["log", "-1", "--format=%an <%ae>%n%B", "main"]);
    let change =
        "registry.example.com/shop/orders:v1.4.0 -> registry.example.com/shop/orders:v1.5.2";
    let wanted = format!("Updates <updates@example.com>\nchore: new images\n\n\n- {change}\n");
    ensure!(message.trim() == wanted.trim(), "{message:?}");
    let changed = world
        .repo
        .git(&["show", "--format=", "--name-only", "main"]);
    // IA-UPD-031: a marker on the line above does nothing
    ensure!(changed.trim() == "apps/base/orders.yaml", "{changed}");
    let file = world.repo.git(&["show", "main:apps/base/orders.yaml"]);
    let before = &world.pages.files()["apps/base/orders.yaml"];
    let wanted = before.replace(":v1.4.0 #", ":v1.5.2 #");
    ensure!(file.trim() == wanted.trim() && wanted != *before, "{file}");

    // Nothing is left to do, and the forms of the page are those objects.
    world.apply_current(&world.pages.page(PAGE)?).await?;
    ensure!(
        system.get(GIT_REPOSITORY, "shop").await?.is_some(),
        "the source"
    );
    let at = system
        .request_reconcile(IMAGE_UPDATE_AUTOMATION, "shop")
        .await?;
    let handled = |object: &Value| {
        object["status"]["lastHandledReconcileAt"] == at && kind_tests::is_ready(object, "True")
    };
    let object = system
        .wait(IMAGE_UPDATE_AUTOMATION, "shop", "is reconciled", handled)
        .await?;
    ensure!(object["metadata"]["generation"] == 1, "{object}");
    ensure!(world.repo.rev_parse("main") == head, "one commit");
    Ok(())
}
