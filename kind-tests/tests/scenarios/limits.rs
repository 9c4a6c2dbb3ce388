//! Oversized objects and malicious archives: a condition reports them, running objects are unaffected, and the next
//! valid revision recovers.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use kind_tests::controller::Settings;
use kind_tests::requests::Counter;
use kind_tests::{Applier, CONFIG_MAP, GIT_REPOSITORY, Result, ensure};
use serde_json::{Value, json};

use crate::config_map;

/// The ConfigMaps applied by the test's own revisions.
async fn config_maps(applier: &Applier) -> Result<Vec<String>> {
    let mut names = applier.namespace.names(CONFIG_MAP).await?;
    names.retain(|name| name != "kube-root-ca.crt");
    Ok(names)
}

fn tracked(object: &Value) -> usize {
    let entries = object["status"]["inventory"]["entries"].as_array();
    entries.map_or(0, Vec::len)
}

#[tokio::test]
async fn an_inventory_that_does_not_fit_is_refused_before_anything_is_applied() -> Result {
    let applier = Applier::start("no-room", Settings::default()).await?;
    let small = [("a.yaml", config_map("a", "1"))];
    applier
        .publish("main@sha1:1", &[(small[0].0, &small[0].1)])
        .await?;
    // The store accepts objects of 1.5 MiB; this one has 30 KB left for its status.
    let filler = format!(
        "postBuild: {{substitute: {{filler: {}}}}}",
        "x".repeat(1_540_000)
    );
    let yaml = applier.kustomization("app", &["prune: true", &filler]);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:1").await?;

    let files: Vec<(String, String)> = (0..150)
        .map(|number| {
            let name = format!("{}-{number}", "long".repeat(60));
            (format!("{number}.yaml"), config_map(&name, "1"))
        })
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    applier.publish("main@sha1:2", &files).await?;
    // KC-PRUNE-023
    let says = "nothing was applied, since the inventory of 151 objects does not fit into the status of this Kustomization: \
                split it into several that apply fewer objects each: ";
    let failed = applier.says("app", "ReconciliationFailed", says).await?;
    assert_eq!(tracked(&failed), 1);
    assert_eq!(failed["status"]["lastAppliedRevision"], "main@sha1:1");
    assert_eq!(config_maps(&applier).await?, ["a"]);

    // It is retried every two seconds, as configured by retryInterval, with only a few requests.
    let counter = Counter::start(applier.namespace.cluster(), applier.kustomize.user())?;
    let tries = || {
        let lines = applier.kustomize.log().entries();
        let failed = lines.iter().filter(|line| {
            line["msg"]
                .as_str()
                .is_some_and(|text| text.starts_with("Reconciliation failed after "))
        });
        failed.count()
    };
    let until = tries() + 2;
    let again = async {
        while tries() < until {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    applier.namespace.wait_for("two more tries", again).await?;
    let requests = counter.requests()?;
    let requests: Vec<String> = requests
        .iter()
        .filter(|request| request.resource != "events")
        .map(|request| format!("{} {} {}", request.verb, request.resource, request.code))
        .collect();
    ensure!(requests.len() <= 2 * 4, "{requests:#?}");

    applier
        .publish("main@sha1:3", &[("b.yaml", &config_map("b", "1"))])
        .await?;
    let healed = applier.applied("app", "main@sha1:3").await?;
    assert_eq!(tracked(&healed), 1);
    assert_eq!(config_maps(&applier).await?, ["b"]);
    Ok(())
}

#[tokio::test]
async fn an_object_rejected_for_its_size_is_reported() -> Result {
    let applier = Applier::start("too-large", Settings::default()).await?;
    applier
        .publish("main@sha1:1", &[("a.yaml", &config_map("a", "1"))])
        .await?;
    let yaml = applier.kustomization("app", &["prune: true"]);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:1").await?;
    let id = format!("ConfigMap/{}/big", applier.namespace.name());
    for (number, (bytes, says)) in [
        // KC-SSA-031
        (1_200_000, "dry-run failed (Invalid): "),
        (
            3_500_000,
            "dry-run failed (RequestEntityTooLarge): Request entity too large: limit is 3145728",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let revision = format!("main@sha1:{}", number + 2);
        let big = config_map("big", &"x".repeat(bytes));
        applier.publish(&revision, &[("big.yaml", &big)]).await?;
        let text = format!("{id} {says}");
        let failed = applier.says("app", "ReconciliationFailed", &text).await?;
        // Nothing is pruned for a revision that could not be applied.
        assert_eq!(tracked(&failed), 1);
        assert_eq!(config_maps(&applier).await?, ["a"]);
    }
    Ok(())
}

/// An archive of these entries: name, type flag and content, with unchanged names.
fn crafted(entries: &[(&str, u8, &str)]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(tar::EntryType::new(*kind));
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        if matches!(kind, b'1' | b'2') {
            header.set_link_name("a.yaml")?;
        }
        header.set_cksum();
        archive.append(&header, content.as_bytes())?;
    }
    let mut gzip = archive.into_inner()?;
    gzip.flush()?;
    Ok(gzip.finish()?)
}

#[tokio::test]
async fn a_malicious_archive_is_refused_and_links_are_skipped() -> Result {
    let applier = Applier::start("archives", Settings::default()).await?;
    let (a, b) = (config_map("a", "1"), config_map("b", "1"));
    applier.publish("main@sha1:1", &[("a.yaml", &a)]).await?;
    let yaml = applier.kustomization("app", &["prune: true"]);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:1").await?;

    let good = ("b.yaml", b'0', b.as_str());
    let half = crafted(&[good])?;
    for (number, (archive, says)) in [
        // KC-SRC-011
        (
            crafted(&[good, ("../a.yaml", b'0', &a)])?,
            "tar contained invalid name error \"../a.yaml\"",
        ),
        (
            crafted(&[good, ("/tmp/a.yaml", b'0', &a)])?,
            "tar contained invalid name error \"/tmp/a.yaml\"",
        ),
        // KC-SRC-012
        (
            crafted(&[good, ("device", b'3', "")])?,
            "tar file entry device contained unsupported file type Dcrw-r--r--",
        ),
        (
            crafted(&[good, ("pipe", b'6', "")])?,
            "tar file entry pipe contained unsupported file type prw-r--r--",
        ),
        (half[..half.len() / 2].to_vec(), "failed to extract archive"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("bad-{number}.tar.gz");
        let artifact = applier.artifacts.put_bytes(&name, &name, archive);
        applier.serve(GIT_REPOSITORY, "app", &artifact).await?;
        let failed = applier.says("app", "ArtifactFailed", says).await?;
        assert_eq!(tracked(&failed), 1, "{says}");
        assert_eq!(config_maps(&applier).await?, ["a"], "{says}");
    }

    // KC-SRC-012: links are not followed, and a hard link is an empty file
    let links = crafted(&[good, ("soft.yaml", b'2', ""), ("hard.yaml", b'1', "")])?;
    let artifact = applier.artifacts.put_bytes("links.tar.gz", "links", links);
    applier.serve(GIT_REPOSITORY, "app", &artifact).await?;
    let healed = applier.applied("app", "links").await?;
    assert_eq!(
        healed["status"]["inventory"]["entries"],
        json!([{"id": format!("{}_b__ConfigMap", applier.namespace.name()), "v": "v1"}])
    );
    Ok(())
}
