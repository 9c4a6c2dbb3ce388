//! Commands that change what runs: `flux reconcile`, `suspend`, `resume`, `trigger`, `create tenant`.

use kind_tests::{GIT_REPOSITORY, HELM_RELEASE, Kind, Namespace, Result, ensure};

use super::world::World;

pub(super) async fn reconciled(world: &World) -> Result {
    let flux = &world.flux;
    flux.run(&["reconcile", "kustomization", "app"])?;
    // DI-ACT-003
    let told = flux.run(&["reconcile", "helmrelease", "rel", "--with-source"])?;
    ensure!(
        told.contains("annotating OCIRepository chart")
            && told.contains("annotating HelmRelease rel"),
        "{told}"
    );
    flux.run(&["reconcile", "hr", "rel", "--force", "--reset"])?;
    // DI-ACT-004
    let release = world.get(HELM_RELEASE, "rel").await?;
    let annotations = &release["metadata"]["annotations"];
    let requested = &annotations["reconcile.fluxcd.io/requestedAt"];
    ensure!(requested.is_string(), "{annotations}");
    for name in ["forceAt", "resetAt"] {
        let name = format!("reconcile.fluxcd.io/{name}");
        assert_eq!(&annotations[&*name], requested, "{name}");
    }
    assert_eq!(release["status"]["lastHandledForceAt"], *requested);
    assert_eq!(release["status"]["lastHandledResetAt"], *requested);
    let told = flux.run(&["reconcile", "image", "update", "app"])?;
    ensure!(told.contains("✔"), "{told}");
    // DI-ACT-007
    for kind in ["alert", "alert-provider"] {
        let name = if kind == "alert" { "all" } else { "chat" };
        flux.run(&["suspend", kind, name])?;
        let told = flux.run(&["resume", kind, name])?;
        ensure!(told.contains("✔"), "{told}");
    }

    // DI-ACT-016
    let counter = world.get(GIT_REPOSITORY, "app").await?;
    let before = counter["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"].clone();
    let url = world.notification.webhooks_url().unwrap_or_default();
    let told = flux.attempt(&[
        "trigger",
        "receiver",
        "hook",
        "--type=generic-hmac",
        "--token=t0ken",
        "--url",
        &url,
        "--payload={}",
        "--retries=0",
    ])?;
    ensure!(told.code == Some(0), "{}", told.text());
    world
        .namespace
        .wait(GIT_REPOSITORY, "app", "was triggered", |object| {
            object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"] != before
        })
        .await?;

    // DI-ACT-011
    let tenant = format!("{}-team", world.namespace.name());
    flux.run(&[
        "create",
        "tenant",
        "team",
        &format!("--with-namespace={tenant}"),
    ])?;
    let owned = Namespace::existing(world.namespace.cluster(), &tenant).await?;
    let binding = owned
        .get(
            Kind("rbac.authorization.k8s.io/v1", "RoleBinding"),
            "team-reconciler",
        )
        .await?;
    let binding = binding.unwrap_or_default();
    assert_eq!(
        binding["metadata"]["labels"]["toolkit.fluxcd.io/tenant"],
        "team"
    );
    assert_eq!(binding["roleRef"]["name"], "cluster-admin");
    let subjects: Vec<&str> = binding["subjects"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|subject| subject["name"].as_str())
        .collect();
    let user = format!("gotk:{tenant}:reconciler");
    ensure!(
        subjects.len() == 2 && subjects.contains(&&*user) && subjects.contains(&"team"),
        "{subjects:?}"
    );
    owned.delete(Kind("v1", "Namespace"), &tenant).await?;
    Ok(())
}
