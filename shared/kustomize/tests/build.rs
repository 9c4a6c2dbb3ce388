//! Properties of builds that the golden pages cannot show: warnings, error variants, limits, and concurrent builds.

use flux_kustomize::{Build, Error, Limited, Options, Output, Remotes, build};
use flux_tree::{Entry, Tree, TreePath};

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n";

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (path, text) in files {
        let path = TreePath::new(path).unwrap();
        tree.insert_file(path, (*text).to_owned(), false).unwrap();
    }
    tree
}

fn run(files: &[(&str, &str)], options: &Options) -> Result<Output, Error> {
    match build(&tree(files), &TreePath::root(), options, &Remotes::new())? {
        Build::Done(output) => Ok(output),
        Build::Needs(needs) => panic!("asked for {needs:?}"),
    }
}

#[test]
fn deprecated_fields_warn() {
    // KZ-FILE-019
    let smp = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";
    for (field, text) in [
        (
            "bases: [base]",
            "# Warning: 'bases' is deprecated. Please use 'resources' instead. Run 'kustomize edit fix' to update your \
             Kustomization automatically.",
        ),
        (
            "commonLabels: {a: b}",
            "# Warning: 'commonLabels' is deprecated. Please use 'labels' instead. Run 'kustomize edit fix' to update your \
             Kustomization automatically.",
        ),
        (
            "imageTags: [{name: x}]",
            "# Warning: 'imageTags' is deprecated. Please use 'images' instead. Run 'kustomize edit fix' to update your \
             Kustomization automatically.",
        ),
        (
            "patchesJson6902: [{target: {version: v1, kind: ConfigMap, name: a}, patch: '[{\"op\": \"test\", \"path\": \
             \"/kind\", \"value\": \"ConfigMap\"}]'}]",
            "# Warning: 'patchesJson6902' is deprecated. Please use 'patches' instead. Run 'kustomize edit fix' to update \
             your Kustomization automatically.",
        ),
        (
            &format!("patchesStrategicMerge: ['{smp}']"),
            "# Warning: 'patchesStrategicMerge' is deprecated. Please use 'patches' instead. Run 'kustomize edit fix' to \
             update your Kustomization automatically.",
        ),
        (
            "vars: [{name: X, objref: {apiVersion: v1, kind: ConfigMap, name: a}}]",
            "# Warning: 'vars' is deprecated. Please use 'replacements' instead. [EXPERIMENTAL] Run 'kustomize edit fix' \
             to update your Kustomization automatically.",
        ),
    ] {
        let files = [
            (
                "kustomization.yaml",
                &*format!("resources: [a.yaml]\n{field}\n"),
            ),
            ("a.yaml", MAP),
            ("base/kustomization.yaml", "metadata: {name: x}"),
        ];
        let output = run(&files, &Options::flux()).unwrap();
        let warnings: Vec<_> = output.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, [text], "{field}");
    }
    let files = [
        ("kustomization.yaml", "resources: [a.yaml]"),
        ("a.yaml", MAP),
    ];
    assert!(run(&files, &Options::flux()).unwrap().warnings.is_empty());
}

#[test]
fn errors_are_classified_by_who_can_fix_them() {
    // KZ-PATH-003, KZ-PATH-010, KZ-FLX-002
    let kind = |root: &str, options: &Options| {
        let files = [("kustomization.yaml", root), ("a.yaml", MAP)];
        run(&files, options).unwrap_err()
    };
    let error = kind("resources: [none.yaml]", &Options::flux());
    assert!(matches!(&error, Error::Missing { path, .. } if path.as_str() == "none.yaml"));
    let error = kind("resources: [../x.yaml]", &Options::flux());
    assert!(matches!(&error, Error::Escapes { .. }), "{error:?}");
    let error = kind("resources: [a.yaml]\nnonsense: 1", &Options::flux());
    assert!(matches!(&error, Error::Invalid { .. }), "{error:?}");
}

#[test]
fn builds_are_bounded() {
    // KZ-PATH-008, KZ-LOAD-006
    let mut options = Options::flux();
    options.limits.resources = 1;
    let two = format!("{MAP}---\n{}", MAP.replace("name: a", "name: b"));
    let files = [
        ("kustomization.yaml", "resources: [a.yaml]"),
        ("a.yaml", &*two),
    ];
    let error = run(&files, &options).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Limit {
                what: Limited::Resources,
                allowed: 1,
                ..
            }
        ),
        "{error:?}"
    );
    let mut options = Options::flux();
    options.limits.depth = 1;
    let files = [
        ("kustomization.yaml", "resources: [b]"),
        ("b/kustomization.yaml", "resources: [c]"),
        ("b/c/kustomization.yaml", "metadata: {name: c}"),
    ];
    let error = run(&files, &options).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Limit {
                what: Limited::Depth,
                allowed: 1,
                ..
            }
        ),
        "{error:?}"
    );
    let mut options = Options::flux();
    options.limits.kustomizations = 1;
    let error = run(&files, &options).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Limit {
                what: Limited::Kustomizations,
                allowed: 1,
                ..
            }
        ),
        "{error:?}"
    );
    let bomb = "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b, *b]\n";
    let mut options = Options::flux();
    options.limits.nodes = 50;
    let files = [
        ("kustomization.yaml", "resources: [a.yaml]"),
        ("a.yaml", &*format!("{MAP}{bomb}")),
    ];
    assert!(run(&files, &options).is_err());
    options.limits.nodes = 500;
    assert!(run(&files, &options).is_ok());
}

#[test]
fn a_long_line_ends_an_env_file() {
    // KZ-GEN-011
    let long = "x".repeat(64 * 1024);
    let env = format!("a=1\nb={long}\nc=3\n");
    let root =
        "configMapGenerator: [{name: g, envs: [x.env], options: {disableNameSuffixHash: true}}]";
    let files = [("kustomization.yaml", root), ("x.env", &*env)];
    let output = run(&files, &Options::flux()).unwrap();
    assert_eq!(
        output.resources.to_yaml(),
        "apiVersion: v1\ndata:\n  a: \"1\"\nkind: ConfigMap\nmetadata:\n  name: g\n"
    );
    let fits = format!("a=1\nb={}\nc=3\n", "x".repeat(64 * 1024 - 4));
    let files = [("kustomization.yaml", root), ("x.env", &*fits)];
    let output = run(&files, &Options::flux()).unwrap();
    assert!(output.resources.to_yaml().contains("  c: \"3\"\n"));
}

#[test]
fn links_that_cannot_be_followed_are_told_apart() {
    for (target, text) in [
        (
            "a.yaml".to_owned(),
            "open /a.yaml: too many levels of symbolic links",
        ),
        ("./".repeat(200_000), "open /a.yaml: file name too long"),
    ] {
        let mut tree = tree(&[("kustomization.yaml", "resources: [a.yaml]\n")]);
        let link = TreePath::new("a.yaml").unwrap();
        tree.insert(link, Entry::Symlink(target)).unwrap();
        let built = build(&tree, &TreePath::root(), &Options::flux(), &Remotes::new());
        let error = built.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn builds_share_nothing() {
    // KZ-OAPI-007, KZ-FLX-003, KZ-ORD-011
    let schema = r#"{"definitions": {"v1.Custom": {"properties": {"list": {"type": "array", "items": {"type": "object"},
        "x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge"}},
        "x-kubernetes-group-version-kind": [{"group": "example.com", "kind": "Custom", "version": "v1"}]}}}"#;
    let head = "apiVersion: example.com/v1\nkind: Custom\nmetadata: {name: c}\n";
    let object = format!("{head}list: [{{name: a, v: 1}}]\n");
    let patch = format!("{head}list: [{{name: b, v: 2}}]\n");
    let files = |openapi: &str| {
        let root = format!("resources: [c.yaml]\npatches: [{{path: p.yaml}}]\n{openapi}");
        run(
            &[
                ("kustomization.yaml", &root),
                ("c.yaml", &object),
                ("p.yaml", &patch),
                ("schema.json", schema),
            ],
            &Options::flux(),
        )
        .unwrap()
        .resources
        .to_yaml()
    };
    let plain = files("");
    let merged = files("openapi: {path: schema.json}\n");
    assert!(!plain.contains("name: a\n"), "{plain}");
    assert!(merged.contains("name: a\n"), "{merged}");
    std::thread::scope(|scope| {
        for at in 0..8 {
            let (files, plain, merged) = (&files, &plain, &merged);
            scope.spawn(move || {
                if at % 2 == 0 {
                    assert_eq!(&files(""), plain);
                } else {
                    assert_eq!(&files("openapi: {path: schema.json}\n"), merged);
                }
            });
        }
    });
}
