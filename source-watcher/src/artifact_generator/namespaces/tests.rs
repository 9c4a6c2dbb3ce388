//! Managed namespaces and their metadata.

use bytes::Bytes;
use flux_api::extensions::{
    ArtifactGenerator, MetadataStrategy, NamespaceMetadata, NamespaceMetadataOperation,
    NamespaceMetadataSource, OutputArtifact,
};
use flux_api::meta::CommonMetadata;
use flux_budget::Claim;
use flux_tree::TreePath;

use super::*;
use crate::artifact_generator::copy::SourceFiles;
use crate::artifact_generator::staging::{Blob, Staging};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn managed(names: &[&str]) -> ManagedNamespaces {
    ManagedNamespaces {
        allowed_names: names.iter().map(ToString::to_string).collect(),
        ..ManagedNamespaces::default()
    }
}

fn generator(managed: ManagedNamespaces) -> ArtifactGenerator {
    let spec = ArtifactGeneratorSpec {
        managed_namespaces: Some(managed),
        service_account_name: Some("deployer".to_owned()),
        ..ArtifactGeneratorSpec::default()
    };
    let mut object = ArtifactGenerator::new("gen", spec);
    object.metadata.uid = Some("u-1".to_owned());
    object
}

fn rules(object: &ArtifactGenerator) -> Result<ManagedRules, RulesError> {
    let managed = object.spec.managed_namespaces.clone().unwrap_or_default();
    ManagedRules::compile(&managed, &object.spec, &Policy::default())
}

// SW-GEN-209, SW-GEN-210
#[test]
fn one_expression_allows_a_namespace_and_some_are_reserved() {
    let rules = rules(&generator(managed(&[
        "ns == 'a'",
        "ns.startsWith('team-')",
        "true",
    ])))
    .unwrap();
    assert!(rules.check("team-x").is_ok() && rules.check("other").is_ok());
    for reserved in ["default", "kube-system", "kube-public", "flux-system"] {
        let error = rules.check(reserved).unwrap_err();
        assert!(matches!(error, RulesError::Reserved(_)) && error.is_access());
    }
    let strict = super::tests::rules(&generator(managed(&["ns == 'a'"]))).unwrap();
    let error = strict.check("b").unwrap_err();
    assert_eq!(
        error.to_string(),
        "namespace \"b\" is not allowed by managedNamespaces.allowedNames"
    );
    assert!(error.is_access());
}

// SW-GEN-211
#[test]
fn expressions_are_checked_before_the_run() {
    for (text, problem) in [
        ("ns ==", "Syntax error"),
        (
            "ns",
            "CEL expression output type mismatch: expected bool, got string",
        ),
        ("other == 'x'", "undeclared reference to 'other'"),
    ] {
        let error = rules(&generator(managed(&["true", text]))).unwrap_err();
        let error = flux_runtime::outcome::chain(&error);
        assert!(error.starts_with("invalid expression in managedNamespaces.allowedNames[1]: "));
        assert!(error.contains(problem), "{error}");
    }
    let mut sourced = managed(&["true"]);
    sourced.metadata = Some(NamespaceMetadata {
        from_source: Some(NamespaceMetadataSource {
            path: "@a/x".to_owned(),
            allowed_labels: map(&[("team", "value +")]),
            ..NamespaceMetadataSource::default()
        }),
        ..NamespaceMetadata::default()
    });
    let error = rules(&generator(sourced)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("metadata.fromSource.allowedLabels[\"team\"]")
    );
}

#[test]
fn expressions_that_cost_too_much_end() {
    let list = "[1,2,3,4,5,6,7,8,9,0]";
    let mut text = "true".to_owned();
    for name in ["a", "b", "c", "d", "e", "f"] {
        text = format!("{list}.all({name}, {text})");
    }
    let rules = rules(&generator(managed(&[&text]))).unwrap();
    let error = rules.check("team").unwrap_err();
    assert!(matches!(error, RulesError::Evaluate { .. }), "{error}");
}

// SW-GEN-208
#[test]
fn an_account_is_needed() {
    let mut object = generator(managed(&["true"]));
    object.spec.service_account_name = None;
    assert!(matches!(rules(&object), Err(RulesError::NoAccount)));
    let policy = Policy {
        default_service_account: "default".to_owned(),
        ..Policy::default()
    };
    let managed = object.spec.managed_namespaces.clone().unwrap();
    assert!(ManagedRules::compile(&managed, &object.spec, &policy).is_ok());
}

// SW-GEN-211
#[test]
fn the_path_of_a_file_has_the_captures_of_the_namespace() {
    let mut managed = managed(&["true"]);
    managed.metadata = Some(NamespaceMetadata {
        from_source: Some(NamespaceMetadataSource {
            path: "@repo/{team}/{app}/ns.yaml".to_owned(),
            allowed_labels: map(&[("a", "true")]),
            ..NamespaceMetadataSource::default()
        }),
        ..NamespaceMetadata::default()
    });
    let mut object = generator(managed);
    let artifact = |namespace: Option<&str>| OutputArtifact {
        name: "{app}".to_owned(),
        namespace: namespace.map(str::to_owned),
        ..OutputArtifact::default()
    };
    object.spec.artifacts = vec![artifact(None), artifact(Some("{team}"))];
    assert!(
        rules(&object).is_ok(),
        "braces are literal without a pattern"
    );
    object.spec.path_pattern = Some("@repo/{team}/{app}".to_owned());
    assert_eq!(
        rules(&object).unwrap_err().to_string(),
        "managedNamespaces.metadata.fromSource.path uses the capture \"app\", which is not part of the namespace of artifact \"{app}\""
    );
    object.spec.artifacts = vec![artifact(Some("{team}-{app}"))];
    assert!(rules(&object).is_ok());
}

fn sourced(file: &'static str, object: &ArtifactGenerator) -> Result<Metadata, String> {
    let mut staging = Staging::new(Claim::unlimited());
    let path = TreePath::new("ns/Team.yaml").unwrap();
    let blob = Blob::Inline(Bytes::from_static(file.as_bytes()));
    staging.put(&path, false, blob).unwrap();
    let captures = map(&[("team", "Team")]);
    let origin = Origin {
        captures: &captures,
        sources: &SourceFiles::new(),
        staging: &staging,
    };
    let metadata = Metadata::of(object, &rules(object).unwrap(), "team", Some(origin));
    metadata.map_err(|error| flux_runtime::outcome::chain(&error))
}

fn operation(
    strategy: MetadataStrategy,
    namespace: &str,
    labels: &[(&str, &str)],
) -> NamespaceMetadataOperation {
    NamespaceMetadataOperation {
        strategy,
        namespace: namespace.to_owned(),
        labels: map(labels),
        annotations: BTreeMap::new(),
    }
}

fn with_metadata(from: Vec<NamespaceMetadataOperation>) -> ArtifactGenerator {
    let mut managed = managed(&["true"]);
    managed.metadata = Some(NamespaceMetadata {
        from,
        from_source: Some(NamespaceMetadataSource {
            path: "@artifact/ns/{team}.yaml".to_owned(),
            allowed_labels: map(&[("tier", "value in ['a', 'b']"), ("common", "true")]),
            allowed_annotations: map(&[("note", "size(value) < 5")]),
        }),
    });
    let mut object = generator(managed);
    object.spec.common_metadata = Some(CommonMetadata {
        labels: map(&[("common", "1"), ("app.kubernetes.io/managed-by", "me")]),
        annotations: map(&[("c", "1")]),
    });
    object
}

// SW-GEN-211
#[test]
fn metadata_is_built_in_order() {
    use MetadataStrategy::{Merge, Override, Reset};
    let file = "apiVersion: source.extensions.fluxcd.io/v1beta1\nkind: NamespaceMetadata\nmetadata:\n  labels: {tier: a, common: '2', other: x}\n  annotations: {note: hi}\n";
    let own = [
        ("app.kubernetes.io/managed-by", "source-watcher"),
        ("source.extensions.fluxcd.io/generator", "u-1"),
    ];
    let labels = |from: Vec<NamespaceMetadataOperation>| {
        let mut labels = sourced(file, &with_metadata(from)).unwrap().labels;
        for (key, value) in own {
            assert_eq!(labels.remove(key).as_deref(), Some(value));
        }
        labels
    };
    assert_eq!(labels(vec![]), map(&[("common", "2"), ("tier", "a")]));
    assert_eq!(
        labels(vec![
            operation(Override, "*", &[("tier", "o")]),
            operation(Merge, "team", &[("tier", "m"), ("new", "m")]),
            operation(Override, "else", &[("tier", "no")]),
        ]),
        map(&[("common", "2"), ("tier", "o"), ("new", "m")])
    );
    assert_eq!(
        labels(vec![operation(Reset, "*", &[("x", "1")])]),
        map(&[("x", "1")])
    );
    let metadata = sourced(file, &with_metadata(vec![])).unwrap();
    assert_eq!(metadata.annotations, map(&[("c", "1"), ("note", "hi")]));

    // SW-GEN-216: over labels and annotations, in an order of their own
    let text = format!(
        "annotation:c=1|annotation:note=hi|{}",
        metadata
            .labels
            .iter()
            .map(|(key, value)| format!("label:{key}={value}"))
            .collect::<Vec<_>>()
            .join("|")
    );
    let expected = <sha2::Sha256 as sha2::Digest>::digest(text);
    assert_eq!(
        metadata.digest(),
        format!("sha256:{}", hex::encode(expected))
    );
}

// SW-GEN-211
#[test]
fn files_of_sources_give_only_what_is_allowed() {
    let object = with_metadata(vec![]);
    for (file, expected) in [
        (
            "metadata: {labels: {tier: c}}",
            "namespace metadata file \"@artifact/ns/Team.yaml\": label \"tier\" with value \"c\" does not match the allowed expression \"value in ['a', 'b']\"",
        ),
        (
            "metadata: {annotations: {note: too long}}",
            "namespace metadata file \"@artifact/ns/Team.yaml\": annotation \"note\" with value \"too long\" does not match the allowed expression \"size(value) < 5\"",
        ),
        (
            "metadata: {labels: {tier: 1}}",
            "namespace metadata file \"@artifact/ns/Team.yaml\": label \"tier\" is not a string",
        ),
        (
            "kind: ConfigMap",
            "namespace metadata file \"@artifact/ns/Team.yaml\" has unsupported kind \"ConfigMap\"",
        ),
        (
            "apiVersion: v1",
            "namespace metadata file \"@artifact/ns/Team.yaml\" has unsupported apiVersion \"v1\"",
        ),
        (
            "- a",
            "failed to parse namespace metadata file \"@artifact/ns/Team.yaml\": cannot unmarshal YAML document: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
    ] {
        assert_eq!(sourced(file, &object).unwrap_err(), expected);
    }
}

// SW-GEN-212
#[test]
fn the_annotation_of_an_external_finalizer_is_reserved() {
    let mut object = generator(managed(&["true"]));
    let annotations = map(&[(
        "source.extensions.fluxcd.io/externalFinalizer",
        "/v1/X//n/u",
    )]);
    object.spec.common_metadata = Some(CommonMetadata {
        annotations,
        ..CommonMetadata::default()
    });
    assert_eq!(
        sourced("", &object).unwrap_err(),
        "metadata for namespace \"team\" must not set the reserved \"source.extensions.fluxcd.io/externalFinalizer\" annotation, it is reserved for external finalizers"
    );
}
