//! The checks of a spec.

use flux_api::extensions::{
    ArtifactGeneratorSpec, GeneratorSourceKind, ManagedNamespaces, NamespaceMetadata,
    NamespaceMetadataSource, SourceReference,
};

use super::*;

fn source(alias: &str, namespace: Option<&str>) -> SourceReference {
    SourceReference {
        alias: alias.to_owned(),
        kind: GeneratorSourceKind::OCIRepository,
        name: "repo".to_owned(),
        namespace: namespace.map(str::to_owned),
    }
}

fn artifact(name: &str, namespace: Option<&str>) -> OutputArtifact {
    OutputArtifact {
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
        ..OutputArtifact::default()
    }
}

fn generator(sources: Vec<SourceReference>, artifacts: Vec<OutputArtifact>) -> ArtifactGenerator {
    let spec = ArtifactGeneratorSpec {
        sources,
        artifacts,
        ..ArtifactGeneratorSpec::default()
    };
    let mut object = ArtifactGenerator::new("gen", spec);
    object.metadata.namespace = Some("own".to_owned());
    object
}

fn policy(no_cross_namespace: bool) -> Policy {
    Policy {
        no_cross_namespace,
        ..Policy::default()
    }
}

#[test]
fn specs_that_contradict_themselves_are_refused() {
    let revision = OutputArtifact {
        revision: Some("@b".to_owned()),
        origin_revision: Some("@b".to_owned()),
        ..artifact("x", None)
    };
    for (note, sources, artifacts, expected) in [
        // SW-GEN-051, SW-GEN-052
        (
            "SW-GEN-052",
            vec![source("a", None), source("a", None)],
            vec![artifact("x", None), artifact("x", None)],
            Some("duplicate source alias 'a' found"),
        ),
        // SW-GEN-055
        (
            "SW-GEN-055",
            vec![source("a", None)],
            vec![artifact("x", None), artifact("x", Some("own"))],
            Some("duplicate artifact name 'x' found in namespace 'own'"),
        ),
        (
            "one name in two namespaces",
            vec![source("a", None)],
            vec![artifact("x", None), artifact("x", Some("other"))],
            None,
        ),
        // SW-GEN-056
        (
            "SW-GEN-056",
            vec![source("a", None)],
            vec![artifact("X", None)],
            Some(
                "artifact name \"X\" is not a valid Kubernetes object name: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ),
        ),
        // SW-GEN-057
        (
            "SW-GEN-057",
            vec![source("a", None)],
            vec![revision],
            Some("artifact x revision source alias 'b' not found"),
        ),
        // SW-GEN-054
        (
            "SW-GEN-054",
            vec![source("a", Some("other"))],
            vec![artifact("x", None)],
            None,
        ),
    ] {
        let error = validate(&generator(sources, artifacts), &policy(false)).err();
        let error = error.map(|error| error.to_string());
        assert_eq!(error.as_deref(), expected, "{note}");
    }
    // SW-GEN-058: not reported, as in upstream
    let origin = OutputArtifact {
        origin_revision: Some("@b".to_owned()),
        ..artifact("x", None)
    };
    let object = generator(vec![source("a", None)], vec![origin]);
    assert!(validate(&object, &policy(false)).is_ok());
}

fn with_inputs(path: &str, pattern: Option<&str>) -> Option<String> {
    let inputs = OutputArtifact {
        inputs_from: Some(path.to_owned()),
        ..artifact("x", None)
    };
    let mut object = generator(vec![source("a", None)], vec![inputs]);
    object.spec.path_pattern = pattern.map(str::to_owned);
    let error = validate(&object, &policy(false)).err();
    error.map(|error| error.to_string())
}

// SW-GEN-215
#[test]
fn files_of_inputs_are_in_a_known_source_or_the_artifact() {
    for path in ["@a/inputs.yaml", "@artifact/in/values.yaml"] {
        assert_eq!(with_inputs(path, None), None, "{path}");
    }
    assert_eq!(with_inputs("@a/{app}.yaml", Some("@a/{app}")), None);
    for (path, expected) in [
        (
            "@b/x",
            "artifact x inputsFrom \"@b/x\": source alias 'b' not found",
        ),
        (
            "@a",
            "artifact x inputsFrom \"@a\": path must be in the format '@<alias>/<path>'",
        ),
        (
            "@a/",
            "artifact x inputsFrom \"@a/\": path must be in the format '@<alias>/<path>'",
        ),
        (
            "@a/{app}.yaml",
            "artifact x inputsFrom \"@a/{app}.yaml\" uses capture placeholders but pathPattern is not set",
        ),
    ] {
        assert_eq!(with_inputs(path, None).as_deref(), Some(expected));
    }
}

// SW-GEN-211
#[test]
fn files_of_namespace_metadata_are_in_a_known_source_or_the_artifact() {
    let check = |path: &str| {
        let mut object = generator(vec![source("a", None)], vec![artifact("x", None)]);
        object.spec.service_account_name = Some("deployer".to_owned());
        let from_source = NamespaceMetadataSource {
            path: path.to_owned(),
            ..NamespaceMetadataSource::default()
        };
        object.spec.managed_namespaces = Some(ManagedNamespaces {
            allowed_names: vec!["true".to_owned()],
            metadata: Some(NamespaceMetadata {
                from_source: Some(from_source),
                ..NamespaceMetadata::default()
            }),
            ..ManagedNamespaces::default()
        });
        let error = validate(&object, &policy(false)).err();
        error.map(|error| error.to_string())
    };
    assert_eq!(check("@a/namespace.yaml"), None);
    assert_eq!(
        check("@b/namespace.yaml").as_deref(),
        Some(
            "managedNamespaces metadata fromSource path \"@b/namespace.yaml\": source alias 'b' not found"
        )
    );
    assert_eq!(
        check("@a/{app}.yaml").as_deref(),
        Some(
            "managedNamespaces metadata fromSource path \"@a/{app}.yaml\" uses capture placeholders but pathPattern is not set"
        )
    );
}

// SW-GEN-053, SW-GEN-207, SW-PROC-009
#[test]
fn other_namespaces_can_be_locked_out() {
    let check = |namespace, target| {
        let object = generator(vec![source("a", namespace)], vec![artifact("x", target)]);
        validate(&object, &policy(true)).err()
    };
    assert!(check(None, None).is_none() && check(Some("own"), Some("own")).is_none());
    let foreign = check(Some("other"), None).unwrap();
    assert_eq!(
        foreign.to_string(),
        "cross-namespace reference to source OCIRepository/other/repo is not allowed"
    );
    assert!(foreign.is_access());
    let foreign = check(None, Some("other")).unwrap();
    assert_eq!(
        foreign.to_string(),
        "cross-namespace reference to artifact other/x is not allowed"
    );
    assert!(foreign.is_access());

    let rendered = Request {
        artifact: artifact("x", Some("other")),
        ..Request::default()
    };
    let requests = [rendered];
    assert!(check_targets(&requests, "own", &policy(true)).is_err());
    assert!(check_targets(&requests, "own", &policy(false)).is_ok());
    assert!(check_targets(&requests, "other", &policy(true)).is_ok());
}

#[test]
fn names_with_a_path_pattern_are_checked_when_they_are_rendered() {
    let mut object = generator(
        vec![source("a", None)],
        vec![artifact("{app}", Some("{app}"))],
    );
    assert!(validate(&object, &policy(false)).is_err());
    object.spec.path_pattern = Some("@a/{app}".to_owned());
    assert!(validate(&object, &policy(true)).is_ok());
}

#[test]
fn managed_namespaces_are_part_of_the_checks() {
    let mut object = generator(vec![source("a", None)], vec![artifact("x", None)]);
    object.spec.managed_namespaces = Some(ManagedNamespaces {
        allowed_names: vec!["ns.startsWith('team-')".to_owned()],
        ..ManagedNamespaces::default()
    });
    let error = validate(&object, &policy(false)).unwrap_err();
    assert!(matches!(
        error,
        ValidationError::Managed(RulesError::NoAccount)
    ));
    assert!(!error.is_access());
    object.spec.service_account_name = Some("deployer".to_owned());
    assert!(validate(&object, &policy(false)).unwrap().is_some());
}
