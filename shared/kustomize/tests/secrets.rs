//! No message contains the content or the sources of a Secret: each error path is tried with a marked one.

use flux_kustomize::substitute::{SubstituteOptions, Variables, substitute_object};
use flux_kustomize::{Build, Error, Options, RemoteFailure, Remotes, build, flux};
use flux_tree::{Tree, TreePath};

/// The text that no message may contain, also in base64.
const MARK: &str = "m4rk3d";
const ENCODED: &str = "bTRyazNk";

const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: m4rk3d}\ndata: {key: bTRyazNk}\n";
const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n";

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (path, text) in files {
        let path = TreePath::new(path).unwrap();
        tree.insert_file(path, (*text).to_owned(), false).unwrap();
    }
    tree
}

/// Everything that an error shows.
fn shown(error: &Error) -> String {
    format!("{error}\n{error:?}")
}

/// Name of the case, the root's text and the content of `s.yaml`.
fn cases() -> Vec<(&'static str, String, String)> {
    let resources = "resources: [s.yaml]\n";
    let with = |more: &str| format!("{resources}{more}");
    let secret = |from: &str, to: &str| {
        assert!(SECRET.contains(from));
        SECRET.replace(from, to)
    };
    let plain = SECRET.to_owned();
    let mut all = Vec::new();
    // Files that cannot be parsed.
    for (what, from, to) in [
        ("an unknown anchor", "password: m4rk3d", "password: *m4rk3d"),
        (
            "an anchor within itself",
            "password: m4rk3d",
            "password: &m4rk3d [*m4rk3d]",
        ),
        (
            "a tag that does not fit",
            "password: m4rk3d",
            "password: !!int m4rk3d",
        ),
        (
            "a float that is none",
            "password: m4rk3d",
            "password: !!float m4rk3d",
        ),
        (
            "a boolean that is none",
            "password: m4rk3d",
            "password: !!bool m4rk3d",
        ),
        (
            "base64 that is none",
            "password: m4rk3d",
            "password: !!binary m4rk3d=",
        ),
        ("a broken quote", "password: m4rk3d", "password: \"m4rk3d"),
        (
            "a broken escape",
            "password: m4rk3d",
            "password: \"\\m4rk3d\"",
        ),
        ("a list as a key", "password: m4rk3d", "? [m4rk3d] : x"),
        ("a key twice", "password: m4rk3d", "m4rk3d: 1, m4rk3d: 2"),
        ("a merge of no mapping", "password: m4rk3d", "<<: m4rk3d"),
        (
            "a line that separates nothing",
            "data: {key",
            "--- m4rk3d\ndata: {key",
        ),
        ("no kind", "kind: Secret", "metadata2: {}"),
        (
            "no name",
            "metadata: {name: s}",
            "metadata: {annotations: {a: m4rk3d}}",
        ),
        (
            "a list of annotations",
            "metadata: {name: s}",
            "metadata: {name: s, annotations: [m4rk3d]}",
        ),
        (
            "a Secret in escapes",
            "kind: Secret",
            "kind: \"\\x53ecret\"\nx: *m4rk3d",
        ),
    ] {
        let text = secret(from, to);
        all.push((what, resources.to_owned(), text.clone()));
        all.push((
            what,
            with("secretGenerator: [{name: g, literals: [a=m4rk3d]}]\n"),
            text,
        ));
    }
    for list in ["List", "SecretList"] {
        let items = secret("password: m4rk3d", "password: !!int m4rk3d");
        let items = items.replace('\n', "\n  ");
        all.push((
            "a list of Secrets",
            resources.to_owned(),
            format!(
                "apiVersion: v1\nkind: {list}\nmetadata: {{name: l}}\nitems:\n- {}\n---\n{MAP}",
                items.trim_end()
            ),
        ));
    }
    // Generators.
    for (what, entry) in [
        ("a literal without a sign", "literals: [m4rk3d]"),
        ("a literal without a key", "literals: ['=m4rk3d']"),
        (
            "one good and one bad literal",
            "literals: [a=m4rk3d, m4rk3d]",
        ),
        (
            "a literal of two signs and a bad one",
            "literals: [a=m4rk3d=b, m4rk3d]",
        ),
        ("a literal twice", "literals: [a=m4rk3d, a=m4rk3d]"),
        ("a line twice", "envs: [twice.env]"),
        ("a line that is not UTF-8", "envs: [bytes.env]"),
        (
            "a literal that lost its dash",
            "literals: [a=b], a=m4rk3d: c",
        ),
        ("a mapping of literals", "literals: {a: m4rk3d}"),
        ("a number among the literals", "literals: [[m4rk3d]]"),
        (
            "a missing file beside a literal",
            "literals: [a=m4rk3d], files: [none]",
        ),
        (
            "a missing env file beside a literal",
            "literals: [a=m4rk3d], envs: [none]",
        ),
        (
            "a behavior without a base",
            "literals: [a=m4rk3d], behavior: merge",
        ),
    ] {
        all.push((
            what,
            format!("secretGenerator: [{{name: g, {entry}}}]\n"),
            plain.clone(),
        ));
        // The same as a plugin, in a file and inline in the root.
        let plugin = format!(
            "{{apiVersion: builtin, kind: SecretGenerator, metadata: {{name: g}}, {entry}}}"
        );
        all.push((
            what,
            format!("generators: [s.yaml]\n# {what}\n"),
            plugin.clone(),
        ));
        all.push((
            what,
            format!("generators:\n- |\n  {plugin}\n"),
            plain.clone(),
        ));
        all.push((
            what,
            format!("generators:\n- |\n  {plugin} }}\n"),
            plain.clone(),
        ));
    }
    all.push(("a generator that clashes", with("secretGenerator: [{name: s, literals: [a=m4rk3d], options: {disableNameSuffixHash: true}}]\n"), plain.clone()));
    all.push((
        "the root's anchors",
        with("secretGenerator: [{name: g, literals: [*m4rk3d]}]\n"),
        plain.clone(),
    ));
    all.push((
        "the root's tags",
        with("secretGenerator: [{name: g, literals: [!!int m4rk3d]}]\n"),
        plain.clone(),
    ));
    // Patches.
    for (what, patch) in [
        (
            "a patch that cannot be read",
            "patch: '{kind: Secret, stringData: {password: m4rk3d'",
        ),
        (
            "a patch with an unknown anchor",
            "patch: '{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {password: *m4rk3d}}'",
        ),
        (
            "a patch of nothing there",
            "patch: '{apiVersion: v1, kind: Secret, metadata: {name: other}, stringData: {password: m4rk3d}}'",
        ),
        (
            "a patch of another kind of node",
            "patch: '{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: m4rk3d}'",
        ),
        (
            "a patch of no known strategy",
            "patch: '{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {$patch: m4rk3d}}'",
        ),
        (
            "patches with a target",
            "patch: \"{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: m4rk3d}}\\n---\\n{apiVersion: v1, kind: Secret, metadata: {name: t}}\", target: {kind: Secret}",
        ),
        (
            "a JSON patch that cannot be read",
            "patch: '[{\"op\": \"add\", \"path\": \"/data/a\", \"value\": \"m4rk3d\"', target: {kind: Secret}",
        ),
        (
            "a JSON patch for all kinds",
            "patch: '- {op: add, path: /data/a, value: m4rk3d', target: {name: s}",
        ),
        (
            "a JSON patch without a target",
            "patch: '[{\"op\": \"add\", \"path\": \"/data/a\", \"value\": \"m4rk3d\", \"x\": \"Secret\"}]'",
        ),
        (
            "a JSON patch that does not apply",
            "patch: '[{\"op\": \"add\", \"path\": \"/x/y\", \"value\": \"m4rk3d\"}]', target: {kind: Secret}",
        ),
        (
            "a JSON patch whose test fails",
            "patch: '[{\"op\": \"test\", \"path\": \"/stringData/password\", \"value\": \"m4rk3d2\"}]', target: {kind: Secret}",
        ),
        (
            "both a patch and a path",
            "patch: '{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: m4rk3d}}', path: s.yaml",
        ),
    ] {
        all.push((
            what,
            with(&format!("patches: [{{{patch}}}]\n")),
            plain.clone(),
        ));
        all.push((
            what,
            with(&format!("transformers:\n- |\n  {{apiVersion: builtin, kind: PatchTransformer, metadata: {{name: t}}, {}}}\n", patch.replace('\n', "\n  "))),
            plain.clone(),
        ));
    }
    for patch in [
        "patch: '- {op: add, path: /data/a, value: m4rk3d'",
        "patch: '[{\"op\": \"add\", \"path\": \"/x/y\", \"value\": \"m4rk3d\"}]'",
        "patch: '- {op: add, path: /data/a, value: *m4rk3d}'",
        "patch: '[m4rk3d]'",
    ] {
        all.push((
            "an older JSON patch",
            with(&format!(
                "patchesJson6902: [{{target: {{version: v1, kind: Secret, name: s}}, {patch}}}]\n"
            )),
            plain.clone(),
        ));
    }
    for patch in [
        "apiVersion: v1\n  kind: Secret\n  metadata: {name: s}\n  stringData: {password: m4rk3d",
        "apiVersion: v1\n  kind: Secret\n  metadata: {name: s}\n  stringData: {password: *m4rk3d}",
        "apiVersion: v1\n  kind: Secret\n  metadata: {name: none}\n  stringData: {password: m4rk3d}",
    ] {
        all.push((
            "an older patch",
            with(&format!(
                "patchesStrategicMerge:\n- |\n  {patch}\n- none.yaml\n"
            )),
            plain.clone(),
        ));
    }
    // Replacements.
    let replaced = |source: &str, target: &str| {
        with(&format!(
            "replacements: [{{source: {{kind: Secret, name: s, {source}}}, targets: [{{{target}}}]}}]\n"
        ))
    };
    for (what, root) in [
        (
            "a source that is no mapping",
            replaced(
                "fieldPath: stringData.password.x.y",
                "select: {kind: Secret}",
            ),
        ),
        (
            "a source with too few parts",
            replaced(
                "fieldPath: stringData.password, options: {delimiter: '-', index: 5}",
                "select: {kind: Secret}",
            ),
        ),
        (
            "a source of several parts",
            replaced(
                "fieldPath: stringData, options: {delimiter: '-'}",
                "select: {kind: Secret}",
            ),
        ),
        (
            "a target that is no mapping",
            replaced(
                "fieldPath: stringData.password",
                "select: {kind: Secret}, fieldPaths: ['stringData.[a=b].c']",
            ),
        ),
        (
            "a target that is no list",
            replaced(
                "fieldPath: stringData.password",
                "select: {kind: Secret}, fieldPaths: ['stringData.*']",
            ),
        ),
        (
            "a target within a text",
            replaced(
                "fieldPath: metadata.name",
                "select: {kind: Secret}, fieldPaths: [stringData.password.x]",
            ),
        ),
        (
            "a target that holds what came from a Secret",
            "resources: [s.yaml, a.yaml]\nreplacements:\n- {source: {kind: Secret, name: s, fieldPath: stringData}, targets: [{select: {kind: ConfigMap}, fieldPaths: [data.a]}]}\n\
             - {source: {kind: ConfigMap, name: a, fieldPath: metadata.name}, targets: [{select: {kind: ConfigMap}, fieldPaths: ['data.a.[x=y].z']}]}\n".to_string(),
        ),
        (
            "a value that is written out, and a path",
            with("replacements: [{sourceValue: m4rk3d, path: none.yaml}]\n"),
        ),
        (
            "a file of replacements",
            with("replacements: [{path: s.yaml}]\n"),
        ),
    ] {
        all.push((what, root, plain.clone()));
    }
    all.push((
        "a target within a text that cannot be read",
        replaced(
            "fieldPath: metadata.name",
            "select: {kind: Secret}, fieldPaths: [stringData.password.x]",
        ),
        secret("password: m4rk3d", "password: 'a: *m4rk3d'"),
    ));
    // Fields of other transformers.
    for (what, more) in [
        (
            "a label below a text",
            "labels: [{pairs: {x: z}, fields: [{path: stringData/password, create: true}]}]\n",
        ),
        (
            "a label deep below a text",
            "labels: [{pairs: {x: z}, fields: [{path: stringData/password/x/y, create: true}]}]\n",
        ),
        (
            "a namespace in place of a mapping",
            "namespace: ns\nconfigurations: [ns.yaml]\n",
        ),
        (
            "an image in place of a mapping",
            "images: [{name: x, newTag: z}]\nconfigurations: [img.yaml]\n",
        ),
        (
            "a variable in place of a mapping",
            "vars: [{name: X, objref: {apiVersion: v1, kind: Secret, name: s}, fieldref: {fieldPath: stringData.none}}]\n",
        ),
        (
            "a value that is added below a text",
            "transformers:\n- |\n  {apiVersion: builtin, kind: ValueAddTransformer, metadata: {name: t}, value: x, targets: [{fieldPath: stringData}]}\n",
        ),
        (
            "a chart",
            "helmCharts: [{name: c, valuesInline: {password: m4rk3d}}]\n",
        ),
    ] {
        all.push((what, with(more), plain.clone()));
    }
    all.push((
        "an image of containers",
        with("images: [{name: x, newTag: z}]\n"),
        secret("password: m4rk3d", "containers: [m4rk3d]"),
    ));
    all.push((
        "an image that is no text",
        with("images: [{name: x, newTag: z}]\n"),
        secret("password: m4rk3d", "containers: [{image: {a: m4rk3d}}]"),
    ));
    all.push((
        "an origin that cannot be read",
        with("buildMetadata: [transformerAnnotations]\ncommonLabels: {x: z}\n"),
        secret("metadata: {name: s}", "metadata: {name: s, annotations: {alpha.config.kubernetes.io/transformations: '*m4rk3d'}}"),
    ));
    // URLs.
    for url in [
        "https://u:m4rk3d@example.com/a.yaml",
        "https://example.com/a.yaml?token=m4rk3d",
        "https://u:m4rk3d@example.com/repo.git//x?ref=main",
    ] {
        all.push(("a URL", format!("resources: ['{url}']\n"), plain.clone()));
    }
    all
}

#[test]
fn no_message_contains_the_content_of_a_secret() {
    let mut wrong = Vec::new();
    let mut failed = 0;
    for (what, root, file) in cases() {
        let files = [
            ("kustomization.yaml", root.as_str()),
            ("s.yaml", file.as_str()),
            ("a.yaml", MAP),
            ("twice.env", "m4rk3d\nm4rk3d\n"),
            ("ns.yaml", "namespace: [{path: stringData, create: true}]\n"),
            ("img.yaml", "images: [{path: stringData}]\n"),
        ];
        let mut tree = tree(&files);
        let bytes = TreePath::new("bytes.env").unwrap();
        tree.insert_file(bytes, b"m4rk3d\xff\n".to_vec(), false)
            .unwrap();
        let mut told = Vec::new();
        for options in [Options::default(), Options::flux()] {
            let mut remotes = Remotes::new();
            let built = loop {
                match build(&tree, &TreePath::root(), &options, &remotes) {
                    Ok(Build::Needs(needs)) => {
                        for base in needs {
                            match base {
                                flux_kustomize::RemoteBase::File(url) => {
                                    let failure = RemoteFailure::Other("unreachable".into());
                                    remotes.add_file(url, Err(failure));
                                }
                                flux_kustomize::RemoteBase::Repository(repository) => {
                                    remotes.add_repository(repository, Err("unreachable".into()));
                                }
                                _ => unreachable!("there are no others so far"),
                            }
                        }
                    }
                    other => break other,
                }
            };
            match &built {
                Err(error) => told.push(shown(error)),
                // Nor does the output of `Debug` show content.
                Ok(built) => told.push(format!("{built:?}")),
            }
            failed += usize::from(built.is_err());
        }
        let alone = self::tree(&[("s.yaml", &file), ("x/kustomization.yaml", &root)]);
        for dir in ["", "x"] {
            let dir = TreePath::new(dir).unwrap();
            if let Err(error) = flux::prepare(&alone, &dir, &flux::Overlay::default()) {
                told.push(format!("{error}\n{error:?}"));
            }
        }
        for text in told {
            if text.contains(MARK) || text.contains(ENCODED) {
                wrong.push(format!("{what}: {text}\n---\n{root}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n=======\n"));
    assert!(failed > 150, "only {failed} builds failed");
}

#[test]
fn substitution_errors_show_no_secret() {
    let value = |text: &str| flux_yaml::sigs::from_str(text).unwrap();
    let mut found = 0;
    for (object, variable) in [
        ("kind: Secret\nstringData: {a: '${V}'}\n", "*m4rk3d"),
        ("kind: Secret\nstringData: {a: '${V}'}\n", "!!int m4rk3d"),
        ("kind: Secret\nstringData: {a: '${V}'}\n", "{m4rk3d"),
        ("kind: Secret\nstringData: {a: '${V}', m: m4rk3d}\n", "*x"),
        ("kind: ConfigMap\ndata: {a: '${V}'}\n", "*m4rk3d"),
        ("kind: ConfigMap\ndata: {a: '${V}'}\n", "? [m4rk3d]"),
    ] {
        let is_secret = object.contains("Secret");
        for from_secret in [true, false] {
            if !from_secret && !is_secret {
                continue;
            }
            let mut variables = Variables::default();
            if from_secret {
                variables.set_secret("V", variable);
            } else {
                variables.set("V", variable);
            }
            let result =
                substitute_object(&value(object), &variables, SubstituteOptions::default());
            if let Err(error) = result {
                let text = format!("{error}\n{error:?}");
                assert!(!text.contains(MARK), "{text}");
                found += 1;
            }
            assert!(!format!("{variables:?}").contains(MARK));
        }
    }
    assert!(found > 5, "{found}");
}

#[test]
fn content_outside_of_secrets_is_still_quoted() {
    for (root, map, part) in [
        (
            "resources: [a.yaml]\n",
            "data: *x\n",
            "unknown anchor 'x' referenced",
        ),
        (
            "resources: [a.yaml]\nlabels: [{pairs: {x: z}, fields: [{path: data, create: true}]}]\n",
            "data: plain\n",
            "node contents:\nplain",
        ),
        (
            "resources: [a.yaml]\nconfigMapGenerator: [{name: g, literals: [plain]}]\n",
            "data: {}\n",
            "invalid literal source plain, expected key=value",
        ),
        (
            "resources: [a.yaml]\npatches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: plain}'}]\n",
            "data: {a: b}\n",
            "node contents:\nplain",
        ),
    ] {
        let head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        let tree = tree(&[
            ("kustomization.yaml", root),
            ("a.yaml", &format!("{head}{map}")),
        ]);
        let error = build(&tree, &TreePath::root(), &Options::flux(), &Remotes::new()).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}
