//! Drift of the status and of the storage.

use flux_api::extensions::{
    ArtifactGeneratorSpec, ArtifactGeneratorStatus, GeneratedKind, OutputArtifact,
};
use flux_artifact::{Algorithm, Retention};
use flux_runtime::conditions::Condition;

use super::*;

fn entry(name: &str, digest: &str) -> GeneratedReference {
    GeneratedReference {
        name: name.to_owned(),
        namespace: "ns".to_owned(),
        digest: digest.to_owned(),
        filename: "1.tar.gz".to_owned(),
        kind: None,
    }
}

fn namespace() -> GeneratedReference {
    GeneratedReference {
        kind: Some(GeneratedKind::Namespace),
        name: "team".to_owned(),
        digest: "sha256:1".to_owned(),
        ..GeneratedReference::default()
    }
}

fn ready(status: &str, generation: i64) -> Vec<Condition> {
    vec![Condition {
        type_: "Ready".to_owned(),
        status: serde_json::from_value(status.into()).unwrap(),
        observed_generation: Some(generation),
        ..Condition::default()
    }]
}

fn drift(
    conditions: Vec<Condition>,
    digest: &str,
    artifacts: usize,
    pattern: Option<&str>,
) -> Option<Drift> {
    let spec = ArtifactGeneratorSpec {
        artifacts: vec![OutputArtifact::default(); artifacts],
        path_pattern: pattern.map(str::to_owned),
        ..ArtifactGeneratorSpec::default()
    };
    let mut object = ArtifactGenerator::new("gen", spec);
    object.metadata.generation = Some(2);
    object.status = Some(ArtifactGeneratorStatus {
        conditions,
        inventory: vec![entry("a", "sha256:1"), namespace()],
        observed_sources_digest: Some("sha256:s".to_owned()),
        ..ArtifactGeneratorStatus::default()
    });
    of_status(&object, digest)
}

#[test]
fn the_status_is_compared_in_order() {
    for (note, conditions, digest, artifacts, pattern, expected) in [
        ("SW-GEN-068", ready("True", 2), "sha256:s", 1, None, None), // SW-GEN-068
        // SW-GEN-065
        (
            "not ready",
            ready("False", 1),
            "sha256:x",
            2,
            None,
            Some(Drift::NotReady),
        ),
        // SW-GEN-073: killed after it had announced its work
        (
            "unknown",
            ready("Unknown", 2),
            "sha256:s",
            1,
            None,
            Some(Drift::NotReady),
        ),
        ("new", vec![], "sha256:s", 1, None, Some(Drift::NotReady)),
        (
            "generation",
            ready("True", 1),
            "sha256:x",
            2,
            None,
            Some(Drift::GenerationChanged),
        ),
        (
            "sources",
            ready("True", 2),
            "sha256:x",
            2,
            None,
            Some(Drift::SourcesChanged),
        ),
        (
            "count",
            ready("True", 2),
            "sha256:s",
            2,
            None,
            Some(Drift::ArtifactsChanged),
        ),
        (
            "count with a pattern",
            ready("True", 2),
            "sha256:s",
            2,
            Some("@a/{b}"),
            None,
        ),
    ] {
        assert_eq!(
            drift(conditions, digest, artifacts, pattern),
            expected,
            "{note}"
        );
    }
}

#[test]
fn stored_files_are_compared_with_the_inventory() {
    let folder = tempfile::tempdir().unwrap();
    let retention = Retention::default();
    let storage = Storage::open(folder.path(), "host", Algorithm::Sha256, retention).unwrap();
    let file = folder.path().join("externalartifact/ns/a/1.tar.gz");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let digest = Algorithm::Sha256.digest(b"content").to_string();
    let inventory = [namespace(), entry("a", &digest)];
    let mut known = Known::new();
    let look = |known: &mut Known| of_files(&inventory, &storage, known);

    // SW-GEN-066
    assert_eq!(look(&mut known), Some(Drift::ArtifactMissing));
    std::fs::write(&file, "damaged").unwrap();
    assert_eq!(look(&mut known), Some(Drift::ArtifactCorrupted));
    assert!(!file.exists(), "the damaged file is removed");
    std::fs::create_dir(&file).unwrap();
    assert_eq!(look(&mut known), Some(Drift::ArtifactMissing));
    std::fs::remove_dir(&file).unwrap();

    std::fs::write(&file, "content").unwrap();
    assert_eq!(look(&mut known), None);
    let key = Key::new("ns", "a");
    assert_eq!(known[&key].fingerprint, None);
    // SW-GEN-071: what looks the same is not read again
    let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::write(&file, "contend").unwrap();
    let opened = std::fs::File::options().write(true).open(&file).unwrap();
    opened.set_modified(modified).unwrap();
    assert_eq!(look(&mut known), None);
    let later = modified + std::time::Duration::from_secs(1);
    opened.set_modified(later).unwrap();
    assert_eq!(look(&mut known), Some(Drift::ArtifactCorrupted));
    assert!(known.is_empty());

    let outside = GeneratedReference {
        filename: "../b/1.tar.gz".to_owned(),
        ..entry("a", &digest)
    };
    assert_eq!(
        of_files(&[outside], &storage, &mut known),
        Some(Drift::ArtifactMissing)
    );
}
