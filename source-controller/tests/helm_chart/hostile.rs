//! What is served in place of a chart: it ends in a condition, and the stored chart stays.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use git_servers::HttpGitServer;
use kind_tests::controller::Settings;
use kind_tests::{Result, ensure, is_ready};
use registries::{Artifact, Registry, digest_of};
use serde_json::{Value, json};

use crate::support::World;
use crate::{packed, plain, world};

/// An archive with one file more, whose name no tool would write.
fn with_entry(name: &str) -> Vec<u8> {
    let mut archive = tar_of(&[(
        "web/Chart.yaml",
        "apiVersion: v2\nname: web\nversion: 2.0.0\n",
    )]);
    archive.extend(tar_of(&[("web/values.yaml", "a: 1\n")]));
    archive.extend(tar_of(&[(name, "content")]));
    archive.extend([0; 1024]);
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&archive).unwrap();
    packed.finish().unwrap()
}

/// The entries of a tar archive, without its end.
fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, text) in files {
        let mut head = [0; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        let fields = [
            (100, "0000644"),
            (108, "0000000"),
            (116, "0000000"),
            (136, "00000000000"),
        ];
        for (at, field) in fields {
            head[at..at + field.len()].copy_from_slice(field.as_bytes());
        }
        let size = format!("{:011o}", text.len());
        head[124..135].copy_from_slice(size.as_bytes());
        head[156] = b'0';
        head[257..265].copy_from_slice(b"ustar\x0000");
        head[148..156].fill(b' ');
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        let sum = format!("{sum:06o}\0 ");
        head[148..156].copy_from_slice(sum.as_bytes());
        archive.extend(head);
        archive.extend(text.as_bytes());
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive
}

impl World {
    /// Waits until a chart has failed for this reason and these words, while what is stored is as it was.
    async fn kept(&self, name: &str, before: &Value, reason: &str, words: &str) -> Result {
        let text = self.condition(name, "FetchFailed", "True", reason).await?;
        ensure!(text.contains(words), "{name}: {text}");
        self.condition(name, "Reconciling", "True", "ProgressingWithRetry")
            .await?;
        let object = self.namespace.get(self.kind, name).await?;
        let object = object.unwrap_or_default();
        ensure!(
            object["status"]["artifact"] == before["status"]["artifact"]
                && is_ready(&object, "False"),
            "{name}: {object}"
        );
        self.archive(&object)?;
        Ok(())
    }
}

// SC-HCHART-027, SC-HCHART-093
#[tokio::test]
async fn what_is_no_archive_keeps_the_last_chart() -> Result {
    let server = HttpGitServer::builder()
        .redirect("/charts/loop-2.0.0.tgz", "/charts/loop-2.0.0.tgz")
        .redirect(
            "/charts/metadata-2.0.0.tgz",
            "http://169.254.169.254/latest",
        )
        .answer(
            "/charts/html-2.0.0.tgz",
            200,
            "<html><body>Sign in</body></html>",
        );
    let world = world("chart-hostile", Settings::default(), server).await?;
    let names = [
        "loop", "metadata", "html", "cut", "upwards", "absolute", "outside", "other",
    ];
    let both: Vec<_> = names
        .iter()
        .flat_map(|name| [(*name, "1.0.0"), (*name, "2.0.0")])
        .collect();
    world.publish(&both)?;
    let whole = packed("cut", "2.0.0", &[("values.yaml", &"a: 1\n".repeat(1000))]);
    for (name, content) in [
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("upwards", with_entry("web/../../etc/passwd")),
        ("absolute", with_entry("web//etc/passwd")),
        ("outside", with_entry("passwd")),
        ("other", b"PK\x03\x04".to_vec()),
    ] {
        std::fs::write(world.git.root().join(format!("{name}-2.0.0.tgz")), content)?;
    }
    world.charts("charts", "").await?;
    let written = "failed to load chart metadata from written chart: ";
    for (name, words) in [
        ("loop", "stopped after 10 redirects"),
        ("metadata", "302 Found"),
        ("html", written),
        ("cut", written),
        ("other", written),
    ] {
        let spec = format!("chart: {name}, version: 1.0.0");
        world.chart(name, "charts", &spec).await?;
        let before = world.revision(name, "1.0.0").await?;
        let spec = json!({"spec": {"version": "2.0.0"}});
        world.namespace.merge(world.kind, name, spec).await?;
        world.kept(name, &before, "ChartPullError", words).await?;
    }
    // An archive that is packed anew is read as a whole.
    for (name, words) in [
        ("upwards", "chart illegally references parent directory"),
        ("absolute", "chart illegally contains absolute paths"),
        (
            "outside",
            "chart illegally contains content outside the base directory",
        ),
    ] {
        let spec =
            format!("chart: {name}, version: 1.0.0, valuesFiles: [values.yaml, values.yaml]");
        world.chart(name, "charts", &spec).await?;
        let before = world.revision(name, "1.0.0+1").await?;
        let spec = json!({"spec": {"version": "2.0.0"}});
        world.namespace.merge(world.kind, name, spec).await?;
        let text = world
            .condition(name, "BuildFailed", "True", "ChartPackageError")
            .await?;
        ensure!(text.contains(words), "{name}: {text}");
        let object = world.namespace.get(world.kind, name).await?;
        let object = object.unwrap_or_default();
        ensure!(
            object["status"]["artifact"] == before["status"]["artifact"],
            "{name}: {object}"
        );
    }
    Ok(())
}

// SC-HCHART-024, SC-HCHART-027
#[tokio::test]
async fn what_a_registry_has_in_place_of_a_chart_keeps_the_last_one() -> Result {
    let chart = packed("web", "2.0.0", &[("other", "x")]);
    let blob = digest_of(&chart);
    let manifests = "/v2/charts/web/manifests/";
    let blobs = "/v2/charts/web/blobs/";
    let cut = {
        let blob = blob.clone();
        move |target: &str, mut body: Vec<u8>| {
            if target.ends_with(&blob) {
                body.truncate(body.len() / 2);
            }
            body
        }
    };
    let damaged = move |target: &str, mut body: Vec<u8>| {
        if target.contains("/manifests/sha256:") {
            body.push(b' ');
        }
        body
    };
    let html = "<html><body>Sign in</body></html>";
    let own = [("location", "http://{host}/v2/charts/web/manifests/loop")];
    let metadata = [("location", "http://169.254.169.254/latest")];
    let world = plain("chart-hostile-oci").await?;
    let good = Registry::start();
    good.push(
        "charts/web",
        "1.0.0",
        &Artifact::helm(packed("web", "1.0.0", &[])),
    );
    world
        .repository(
            "good",
            &format!(
                "type: oci, url: 'oci://{}/charts', interval: 1h",
                good.host()
            ),
        )
        .await?;
    for (name, registry, words) in [
        (
            "cut",
            Registry::builder().mangle(cut),
            "failed to get 'oci://",
        ),
        (
            "damaged",
            Registry::builder().mangle(damaged),
            "manifest digest",
        ),
        (
            "html",
            Registry::builder().answer(99, "", manifests, 200, html),
            "failed to get 'oci://",
        ),
        (
            "loop",
            Registry::builder().answer_with(99, "", manifests, 307, &own, ""),
            "redirect",
        ),
        (
            "metadata",
            Registry::builder().answer_with(99, "GET", blobs, 307, &metadata, ""),
            "SSRF protection",
        ),
    ] {
        let registry = registry.start();
        registry.push("charts/web", "2.0.0", &Artifact::helm(chart.clone()));
        let spec = format!(
            "type: oci, url: 'oci://{}/charts', interval: 1h",
            registry.host()
        );
        world.repository(name, &spec).await?;
        world
            .chart(name, "good", "chart: web, version: 1.0.0")
            .await?;
        let before = world.revision(name, "1.0.0").await?;
        let spec = json!({"spec": {"sourceRef": {"name": name}, "version": "2.0.0"}});
        world.namespace.merge(world.kind, name, spec).await?;
        world.kept(name, &before, "ChartPullError", words).await?;
    }
    Ok(())
}
