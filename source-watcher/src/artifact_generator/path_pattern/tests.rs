//! Patterns of paths and their captures.

use flux_artifact::{ExtractOptions, extract_summed, pack_tree};
use flux_budget::Claim;
use flux_tree::Tree;

use super::*;

fn sources(paths: &[&str]) -> SourceFiles {
    let mut tree = Tree::new();
    for path in paths {
        let path = TreePath::new(path).unwrap();
        tree.insert_file(path, "", false).unwrap();
    }
    let archive = pack_tree(&tree, |_, _| false, Vec::new()).unwrap();
    let file = tempfile::tempfile().unwrap();
    let options = ExtractOptions::default();
    let files = extract_summed(&archive[..], &options, Claim::unlimited(), file).unwrap();
    [("repo".to_owned(), std::sync::Arc::new(files))].into()
}

fn artifact(name: &str, namespace: Option<&str>) -> OutputArtifact {
    OutputArtifact {
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
        copy: vec![CopyOperation {
            from: "@repo/apps/{app}/**".to_owned(),
            to: "@artifact/{app}/".to_owned(),
            exclude: vec!["{app}".to_owned()],
            optional: true,
            ..CopyOperation::default()
        }],
        inputs_from: Some("@repo/apps/{app}/in.yaml".to_owned()),
        ..OutputArtifact::default()
    }
}

fn spec(pattern: &str, artifacts: Vec<OutputArtifact>) -> ArtifactGeneratorSpec {
    ArtifactGeneratorSpec {
        path_pattern: Some(pattern.to_owned()),
        artifacts,
        ..ArtifactGeneratorSpec::default()
    }
}

fn refused(pattern: &str, artifact: OutputArtifact, paths: &[&str]) -> String {
    let error = requests(&spec(pattern, vec![artifact]), &sources(paths)).unwrap_err();
    flux_runtime::outcome::chain(&error)
}

// SW-GEN-121
#[test]
fn without_a_pattern_braces_are_literal() {
    let made = requests(
        &spec("", vec![artifact("{app}", None)]),
        &SourceFiles::new(),
    )
    .unwrap();
    assert_eq!(made[0].artifact, artifact("{app}", None));
    assert!(made[0].labels.is_empty());
}

#[test]
fn each_directory_makes_the_artifacts_once() {
    let files = sources(&[
        "apps/Web/envs/prod/a.yaml",
        "apps/Web/envs/dev/a.yaml",
        "apps/db/envs/prod/a.yaml",
        "apps/file",
        "other/x/y/z/w",
    ]);
    let artifacts = vec![
        artifact("{app}-{env}", Some("team-{app}")),
        artifact("{env}.{app}", None),
    ];
    let made = requests(&spec("@repo/apps/{app}/envs/{env}", artifacts), &files).unwrap();
    // SW-GEN-085, SW-GEN-110, SW-GEN-112
    let names: Vec<_> = made
        .iter()
        .map(|request| request.artifact.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "web-dev", "dev.web", "web-prod", "prod.web", "db-prod", "prod.db"
        ]
    );
    let first = &made[0];
    // SW-GEN-113
    assert_eq!(first.artifact.namespace.as_deref(), Some("team-web"));
    assert_eq!(first.artifact.copy[0].from, "@repo/apps/Web/**");
    assert_eq!(first.artifact.copy[0].to, "@artifact/Web/");
    assert_eq!(first.artifact.copy[0].exclude, ["{app}"]);
    assert!(first.artifact.copy[0].optional);
    assert_eq!(
        first.artifact.inputs_from.as_deref(),
        Some("@repo/apps/Web/in.yaml")
    );
    // SW-GEN-114
    let labels = [("app", "web"), ("env", "dev")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(first.labels, labels.into());
    assert_eq!(first.namespace("own"), "team-web");
    assert_eq!(made[1].namespace("own"), "own");
}

#[test]
fn only_directories_match_and_the_rest_is_literal() {
    let files = sources(&["apps/a/x", "apps/b.c/x", "apps/file", "apps/app-1-x/y"]);
    let names = |pattern: &str, name: &str| {
        let artifacts = vec![OutputArtifact {
            name: name.to_owned(),
            ..OutputArtifact::default()
        }];
        let made = requests(&spec(pattern, artifacts), &files).unwrap();
        made.into_iter()
            .map(|request| request.artifact.name)
            .collect::<Vec<_>>()
    };
    // SW-GEN-111
    assert_eq!(names("@repo/apps/{app}", "{app}"), ["a", "app-1-x", "b.c"]);
    assert_eq!(names("@repo/apps/app-{n}-{x}", "{n}{x}"), ["1x"]);
    // SW-GEN-115
    for none in [
        "@repo/apps/*",
        "@repo/apps/b?c",
        "@repo/{app}/{x}/{y}",
        "@repo/",
        "@repo/apps/{app}/",
    ] {
        assert_eq!(names(none, "n"), [""; 0], "{none}");
    }
    assert_eq!(names("@repo/{top}", "{top}"), ["apps"]);
}

// SW-GEN-118
#[test]
fn malformed_patterns_are_refused() {
    for (pattern, expected) in [
        ("@repo", "invalid pathPattern format: @repo"),
        (
            "@x/{a}",
            "pathPattern \"@x/{a}\": source alias x not found in local sources",
        ),
        (
            "@repo/{}",
            "pathPattern \"@repo/{}\": empty capture variable",
        ),
        (
            "@repo/a{b",
            "pathPattern \"@repo/a{b\": invalid capture starting at offset 1: missing closing brace",
        ),
        (
            "@repo/ab}",
            "pathPattern \"@repo/ab}\": invalid capture ending at offset 2: missing opening brace",
        ),
        (
            "@repo/{1a}",
            "pathPattern \"@repo/{1a}\": capture variable \"1a\" must be a valid capture name matching [A-Za-z_][A-Za-z0-9_]*",
        ),
        (
            "@repo/{a}/{a}",
            "pathPattern \"@repo/{a}/{a}\": duplicate capture variable \"a\"",
        ),
        (
            "@repo/{_app}",
            "pathPattern \"@repo/{_app}\": capture variable \"_app\" is not a valid Kubernetes label key: name part must consist of",
        ),
    ] {
        let error = refused(pattern, artifact("a", None), &["apps/x"]);
        assert!(error.starts_with(expected), "{error}");
    }
}

// SW-GEN-119, SW-GEN-217
#[test]
fn what_a_directory_makes_has_to_be_valid() {
    let pattern = "@repo/apps/{app}";
    for (name, namespace, paths, expected) in [
        (
            "{app}",
            None,
            &["apps/.x/y"][..],
            "pathPattern \"@repo/apps/{app}\": captured value \".x\" for variable \"app\" is not a valid Kubernetes label value: a valid label must be",
        ),
        (
            "{app}",
            None,
            &["apps/a b/y"],
            "pathPattern \"@repo/apps/{app}\": captured value \"a b\" for variable \"app\" is not a valid",
        ),
        (
            "x",
            None,
            &["apps/App/y", "apps/app/y"],
            "pathPattern \"@repo/apps/{app}\": captured values \"App\" and \"app\" for variable \"app\" differ only in letter case",
        ),
        (
            "{app}_",
            None,
            &["apps/a/y"],
            "pathPattern \"@repo/apps/{app}\": rendered artifact name \"a_\" is not a valid Kubernetes object name: a lowercase RFC 1123 subdomain",
        ),
        (
            "{app}",
            Some("ns.{app}"),
            &["apps/a/y"],
            "pathPattern \"@repo/apps/{app}\": rendered artifact namespace \"ns.a\" is not a valid Kubernetes namespace: a lowercase RFC 1123 label",
        ),
        (
            "same",
            None,
            &["apps/a/y", "apps/b/y"],
            "pathPattern \"@repo/apps/{app}\": directories \"apps/a\" and \"apps/b\" both resolve to artifact name \"same\"",
        ),
        (
            "{other}",
            None,
            &["apps/a/y"],
            "pathPattern \"@repo/apps/{app}\": failed to render artifact {other} for match apps/a: invalid template \"{other}\": capture variable \"other\" is not defined by pathPattern",
        ),
        (
            "a}",
            None,
            &["apps/a/y"],
            "pathPattern \"@repo/apps/{app}\": failed to render artifact a} for match apps/a: invalid template \"a}\": capture ending at offset 1 is missing opening brace",
        ),
    ] {
        let error = refused(pattern, artifact(name, namespace), paths);
        assert!(error.starts_with(expected), "{error}");
    }
    let long = format!("apps/{}/y", "a".repeat(64));
    let error = refused(pattern, artifact("x", None), &[&long]);
    assert!(error.ends_with("must be no more than 63 bytes"), "{error}");
    // one name in two namespaces
    let same = artifact("same", Some("ns-{app}"));
    let files = sources(&["apps/a/y", "apps/b/y"]);
    assert_eq!(
        requests(&spec(pattern, vec![same]), &files).unwrap().len(),
        2
    );
}

#[test]
fn the_number_of_artifacts_is_bounded() {
    let paths: Vec<String> = (0..=100).map(|at| format!("apps/a{at}/x")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let artifacts = (0..100).map(|at| artifact(&format!("{{app}}-{at}"), None));
    let spec = spec("@repo/apps/{app}", artifacts.collect());
    let error = requests(&spec, &sources(&paths)).unwrap_err();
    assert!(matches!(error, PathPatternError::TooMany(_)));
}

#[test]
fn templates_are_rendered() {
    let values = [("a".to_owned(), "1".to_owned())].into();
    assert_eq!(render("x{a}y{a}", &values).unwrap(), "x1y1");
    for (template, error) in [
        (
            "{a",
            "invalid template \"{a\": capture starting at offset 0 is missing closing brace",
        ),
        ("x{}", "invalid template \"x{}\": empty capture variable"),
        (
            "{a-b}",
            "invalid template \"{a-b}\": capture variable \"a-b\" must be a valid capture name matching [A-Za-z_][A-Za-z0-9_]*",
        ),
    ] {
        assert_eq!(render(template, &values).unwrap_err().to_string(), error);
    }
    assert_eq!(placeholders("{a}/x{b}{"), ["a", "b"].into());
}
