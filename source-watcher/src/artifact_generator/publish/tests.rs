//! Objects of artifacts.

use flux_api::extensions::{ArtifactGeneratorSpec, OutputArtifact};
use flux_api::meta::CommonMetadata;

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn generator(common: CommonMetadata) -> ArtifactGenerator {
    let spec = ArtifactGeneratorSpec {
        common_metadata: Some(common),
        ..ArtifactGeneratorSpec::default()
    };
    let mut object = ArtifactGenerator::new("gen", spec);
    object.metadata.namespace = Some("own".to_owned());
    object.metadata.uid = Some("u-1".to_owned());
    object
}

fn request(namespace: Option<&str>, labels: &[(&str, &str)]) -> Request {
    Request {
        artifact: OutputArtifact {
            name: "app".to_owned(),
            namespace: namespace.map(str::to_owned),
            ..OutputArtifact::default()
        },
        labels: map(labels),
        ..Request::default()
    }
}

fn artifact() -> Artifact {
    Artifact {
        digest: "sha256:1".to_owned(),
        path: "externalartifact/own/app/1.tar.gz".to_owned(),
        ..Artifact::default()
    }
}

#[test]
fn the_object_says_what_it_is_made_of() {
    let common = CommonMetadata {
        labels: map(&[
            ("team", "common"),
            ("x", "1"),
            (super::super::owner::GENERATOR_LABEL, "fake"),
        ]),
        annotations: map(&[("note", "hi")]),
    };
    let request = request(Some("other"), &[("team", "captured")]);
    let desired = Desired::new(&generator(common), &request, artifact(), BTreeMap::new());
    let object = desired.object();
    // SW-ART-050, SW-ART-058
    assert_eq!(object["metadata"]["namespace"], "other");
    assert_eq!(object["metadata"]["name"], "app");
    assert!(object["metadata"].get("ownerReferences").is_none());
    // SW-ART-052
    assert_eq!(
        object["metadata"]["labels"],
        json!({
            "team": "captured",
            "x": "1",
            "app.kubernetes.io/managed-by": "source-watcher",
            "source.extensions.fluxcd.io/generator": "u-1",
        })
    );
    // SW-ART-053
    assert_eq!(object["metadata"]["annotations"], json!({"note": "hi"}));
    // SW-ART-051
    assert_eq!(
        object["spec"]["sourceRef"],
        json!({
            "apiVersion": "source.extensions.fluxcd.io/v1beta1",
            "kind": "ArtifactGenerator",
            "name": "gen",
            "namespace": "own",
        })
    );
    // SW-ART-055
    let status = desired.with_status(3)["status"].clone();
    let ready = &status["conditions"][0];
    assert_eq!(
        [
            &ready["type"],
            &ready["status"],
            &ready["reason"],
            &ready["message"]
        ],
        ["Ready", "True", "Succeeded", "Artifact is ready"]
    );
    assert_eq!(ready["observedGeneration"], 3);
    assert!(status.get("exportedInputs").is_none());
}

#[test]
fn objects_are_applied_where_they_differ() {
    let desired = |common| {
        let inputs = [("a".to_owned(), Values(json!(1)))].into();
        Desired::new(&generator(common), &request(None, &[]), artifact(), inputs)
    };
    let plain = desired(CommonMetadata::default());
    let mut live = plain.object();
    live["metadata"]["generation"] = json!(1);
    live["status"] = plain.with_status(1)["status"].clone();
    let read = |value: &Value| serde_json::from_value::<ExternalArtifact>(value.clone()).unwrap();
    assert!(plain.is_object(&read(&live)) && plain.is_status(&read(&live)));

    // SW-ART-054: a key that is gone from the spec
    let labelled = desired(CommonMetadata {
        labels: map(&[("x", "1")]),
        ..CommonMetadata::default()
    });
    assert!(!labelled.is_object(&read(&live)));
    let mut other = live.clone();
    other["metadata"]["labels"]["x"] = json!("1");
    assert!(labelled.is_object(&read(&other)) && !plain.is_object(&read(&other)));
    // SW-GEN-074
    for (pointer, value) in [
        ("/spec/sourceRef/name", json!("other")),
        ("/status/artifact/revision", json!("edited")),
        ("/status/artifact/url", json!("http://other")),
        ("/status/artifact/digest", json!("sha256:2")),
        ("/status/conditions/0/status", json!("False")),
        ("/status/conditions/0/observedGeneration", json!(2)),
        ("/status/exportedInputs/a", json!(2)),
    ] {
        let mut edited = live.clone();
        *edited.pointer_mut(pointer).unwrap() = value;
        let edited = read(&edited);
        assert!(
            !(plain.is_object(&edited) && plain.is_status(&edited)),
            "{pointer}"
        );
    }
    // SW-GEN-202: when it was stored does not count
    let mut later = live;
    later["status"]["artifact"]["lastUpdateTime"] = json!("2031-01-01T00:00:00Z");
    assert!(plain.is_status(&read(&later)));
}

#[test]
fn revisions_come_from_the_content_or_a_source() {
    let mut observed = Observed::default();
    let source = |metadata: &[(&str, &str)]| Artifact {
        revision: "main@sha1:2".to_owned(),
        metadata: map(metadata),
        ..Artifact::default()
    };
    let with_origin = source(&[(ORIGIN_REVISION, "v1@sha1:1"), ("other", "x")]);
    observed.0.insert("chained".to_owned(), with_origin);
    observed.0.insert("repo".to_owned(), source(&[]));
    let set = |revision: Option<&str>, origin: Option<&str>| {
        let mut request = request(None, &[]);
        request.artifact.revision = revision.map(str::to_owned);
        request.artifact.origin_revision = origin.map(str::to_owned);
        let mut artifact = artifact();
        set_revisions(&mut artifact, &request, &observed);
        (artifact.revision, artifact.metadata)
    };
    // SW-GEN-100, SW-GEN-105
    assert_eq!(set(None, None), ("latest@sha256:1".to_owned(), map(&[])));
    // SW-GEN-101, SW-GEN-102
    assert_eq!(set(Some("@repo"), None).0, "main@sha1:2");
    // SW-GEN-103, SW-GEN-104
    let origin = |revision| map(&[(ORIGIN_REVISION, revision)]);
    assert_eq!(
        set(None, Some("@chained")),
        ("latest@sha256:1".to_owned(), origin("v1@sha1:1"))
    );
    assert_eq!(set(None, Some("@repo")).1, origin("main@sha1:2"));
    // SW-GEN-058
    assert_eq!(set(None, Some("@none")).1, map(&[]));
}
