//! Commands on files: `flux build`, `diff`, `push`, `pull`.

use kind_tests::{OCI_REPOSITORY, Result, ensure};

use super::world::World;

pub(super) async fn built_and_compared(world: &World) -> Result {
    let flux = &world.flux;
    let folder = world.folder().join("checkout");
    std::fs::create_dir_all(folder.join("deploy"))?;
    for (path, text) in world.files() {
        std::fs::write(folder.join(path), text)?;
    }
    let path = format!("--path={}", folder.join("deploy").display());
    let diff = [
        "diff",
        "kustomization",
        "app",
        &path,
        "--progress-bar=false",
    ];
    // DI-ACT-013
    let built = flux.run(&["build", "kustomization", "app", &path])?;
    ensure!(built.contains("region: north"), "{built}");
    let told = flux.attempt(&diff)?;
    assert_eq!(told.code, Some(0), "{}", told.text());
    // DI-ACT-014
    std::fs::remove_file(folder.join("deploy/map.yaml"))?;
    let told = flux.attempt(&diff)?;
    // DI-CLI-005
    assert_eq!(told.code, Some(1), "{}", told.text());
    let broken = flux.attempt(&["diff", "kustomization", "app", "--path=/none"])?;
    assert_eq!(broken.code, Some(2), "{}", broken.text());
    let line = format!("ConfigMap/{}/map deleted", world.namespace.name());
    ensure!(told.text().contains(&line), "{}", told.text());

    // DI-ACT-017
    let url = format!("oci://{}/org/pushed", world.registry.host());
    let artifact = |tag: &str| format!("{url}:{tag}");
    let deploy = folder.join("deploy").to_string_lossy().into_owned();
    let insecure = "--insecure-registry";
    flux.run(&[
        "push",
        "artifact",
        &artifact("v1"),
        "--path",
        &deploy,
        "--source=https://h/r",
        "--revision=main@sha1:0",
        insecure,
    ])?;
    flux.run(&["tag", "artifact", &artifact("v1"), "--tag=latest"])?;
    let told = flux.run(&["list", "artifacts", &url, insecure])?;
    ensure!(
        told.contains("latest") && told.contains("main@sha1:0"),
        "{told}"
    );
    let pulled = world.folder().join("pulled");
    std::fs::create_dir_all(&pulled)?;
    flux.run(&[
        "pull",
        "artifact",
        &artifact("latest"),
        "--output",
        &pulled.to_string_lossy(),
        insecure,
    ])?;
    ensure!(pulled.join("image.yaml").exists(), "nothing was pulled");
    flux.run(&[
        "diff",
        "artifact",
        &artifact("v1"),
        "--path",
        &deploy,
        insecure,
    ])?;
    world.create(&[
        "source",
        "oci",
        "pushed",
        "--url",
        &url,
        "--tag=latest",
        "--insecure",
        "--interval=1h",
    ])?;
    let object = world.get(OCI_REPOSITORY, "pushed").await?;
    let metadata = &object["status"]["artifact"]["metadata"];
    assert_eq!(metadata["org.opencontainers.image.revision"], "main@sha1:0");
    Ok(())
}
