//! Tests of the generated and rewritten root kustomization.

use super::*;
use crate::{Build, Options, Remotes, build};

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (name, text) in files {
        tree.insert_file(path(name), (*text).to_owned(), false)
            .unwrap();
    }
    tree
}

fn root_file(prepared: &Prepared, name: &str) -> String {
    let file = prepared.dir.join(name).unwrap();
    String::from_utf8(prepared.tree.read(&file).unwrap().to_vec()).unwrap()
}

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

#[test]
fn a_folder_without_a_kustomization_gets_one() {
    // KC-BLD-002, RT-KUS-001
    let files = tree(&[
        ("app/b.yaml", MAP),
        ("app/a/x.yml", MAP),
        ("app/a-b.yaml", MAP),
        ("app/base/kustomization.yml", "resources: []"),
        ("app/base/skipped.yaml", MAP),
        ("app/.hidden/h.yaml", MAP),
        ("app/notes.txt", "text"),
        ("outside.yaml", MAP),
    ]);
    let prepared = prepare(&files, &path("app"), &Overlay::default()).unwrap();
    assert_eq!(
        root_file(&prepared, "kustomization.yaml"),
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- ./.hidden/h.yaml\n- ./a/x.yml\n\
         - ./a-b.yaml\n- ./b.yaml\n- ./base\n"
    );
}

#[test]
fn an_empty_folder_builds_to_nothing() {
    // KC-BLD-005
    let files = tree(&[("app/notes.txt", "")]);
    let prepared = prepare(&files, &path("app"), &Overlay::default()).unwrap();
    assert!(root_file(&prepared, "kustomization.yaml").contains("namespace: _placeholder\n"));
    let built = build(
        &prepared.tree,
        &prepared.dir,
        &Options::flux(),
        &Remotes::new(),
    )
    .unwrap();
    assert!(matches!(built, Build::Done(output) if output.resources.is_empty()));
}

#[test]
fn manifests_have_to_be_objects() {
    // KC-BLD-003
    let files = tree(&[("app/x.yaml", "a: b")]);
    let error = prepare(&files, &path("app"), &Overlay::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to decode Kubernetes YAML from /app/x.yaml: missing Resource metadata"
    );
}

#[test]
fn an_existing_file_is_rewritten_in_place() {
    let files = tree(&[
        // KC-BLD-007: `frobs` is dropped; KC-BLD-036: 1.10 becomes "1.1"; KC-BLD-018: the type is added
        (
            "kustomization.yml",
            "resources: [a.yaml]\nfrobs: 1\nimages: [{name: x, newTag: 1.10}]\nNamePrefix: 7\n",
        ),
        // KC-BLD-001, RT-KUS-001: the first name wins
        ("Kustomization", "ignored: true"),
        ("a.yaml", MAP),
    ]);
    let prepared = prepare(&files, &path("."), &Overlay::default()).unwrap();
    assert_eq!(
        root_file(&prepared, "kustomization.yml"),
        "apiVersion: kustomize.config.k8s.io/v1beta1\nimages:\n- name: x\n  newTag: \"1.1\"\nkind: Kustomization\n\
         namePrefix: \"7\"\nresources:\n- a.yaml\n"
    );
}

#[test]
fn a_file_without_resources_gets_origin_annotations() {
    // KC-BLD-006, KC-BLD-016, RT-KUS-007
    let files = tree(&[(
        "kustomization.yaml",
        "buildMetadata: [managedByLabel]\ncomponents: [c]\n",
    )]);
    let prepared = prepare(&files, &path(""), &Overlay::default()).unwrap();
    assert!(
        root_file(&prepared, "kustomization.yaml")
            .contains("buildMetadata:\n- originAnnotations\n")
    );
    let overlay = Overlay {
        build_metadata: vec!["transformerAnnotations".into()],
        ..Overlay::default()
    };
    let prepared = prepare(&files, &path(""), &overlay).unwrap();
    assert!(
        root_file(&prepared, "kustomization.yaml")
            .contains("buildMetadata:\n- transformerAnnotations\n")
    );
}

fn image(name: &str, new_name: &str, new_tag: &str, digest: &str) -> Image {
    Image {
        name: name.into(),
        new_name: new_name.into(),
        new_tag: new_tag.into(),
        digest: digest.into(),
    }
}

fn inline(patch: &str) -> Patch {
    Patch {
        patch: patch.into(),
        target: None,
    }
}

/// Ledger row, root file, spec, and the resulting file.
type Laid = (&'static str, &'static str, Overlay, &'static str);

fn laid_over() -> Vec<Laid> {
    let base = Overlay::default;
    vec![
        (
            "KC-BLD-008",
            "namespace: old\n",
            Overlay {
                target_namespace: Some("new".into()),
                ..base()
            },
            "namespace: new\n",
        ),
        ("KC-BLD-008", "namespace: old\n", base(), "namespace: old\n"),
        (
            "KC-BLD-009",
            "namePrefix: old-\nnameSuffix: -old\n",
            Overlay {
                name_prefix: Some("new-".into()),
                name_suffix: Some("-new".into()),
                ..base()
            },
            "namePrefix: new-\nnameSuffix: -new\n",
        ),
        (
            "KC-BLD-009",
            "namePrefix: old-\nnameSuffix: -old\n",
            base(),
            "namePrefix: old-\nnameSuffix: -old\n",
        ),
        (
            "KC-BLD-010",
            "patches: [{path: p.yaml}]\n",
            Overlay {
                patches: vec![
                    inline("kind: X"),
                    Patch {
                        target: Some(Selector {
                            group: "g".into(),
                            version: "v".into(),
                            kind: "k".into(),
                            name: "n".into(),
                            namespace: "ns".into(),
                            label_selector: "l=1".into(),
                            annotation_selector: "a=1".into(),
                        }),
                        ..inline("kind: Y")
                    },
                ],
                ..base()
            },
            "patches:\n- path: p.yaml\n- patch: 'kind: X'\n- patch: 'kind: Y'\n  target:\n    annotationSelector: a=1\n    \
             group: g\n    kind: k\n    labelSelector: l=1\n    name: \"n\"\n    namespace: ns\n    version: v\n",
        ),
        (
            "KC-BLD-012",
            "components: [own]\n",
            Overlay {
                components: vec!["../c".into()],
                ..base()
            },
            "components:\n- own\n- ../c\n",
        ),
        (
            "KC-BLD-014",
            "components: [gone-too]\n",
            Overlay {
                components: vec!["../c".into(), "../gone".into()],
                ignore_missing_components: true,
                ..base()
            },
            "components:\n- gone-too\n- ../c\n",
        ),
        (
            "KC-BLD-014",
            "",
            Overlay {
                components: vec!["../c".into(), "../gone".into()],
                ..base()
            },
            "components:\n- ../c\n- ../gone\n",
        ),
        // A tag or a digest replaces both.
        (
            "KC-BLD-015, RT-KUS-005",
            "images: [{name: x, newName: other, newTag: v1, digest: sha256:a}]\n",
            Overlay {
                images: vec![image("x", "", "v2", "")],
                ..base()
            },
            "images:\n- name: x\n  newName: other\n  newTag: v2\n",
        ),
        (
            "KC-BLD-015, RT-KUS-005",
            "images: [{name: x, newTag: v1}]\n",
            Overlay {
                images: vec![image("x", "", "", "sha256:b")],
                ..base()
            },
            "images:\n- digest: sha256:b\n  name: x\n",
        ),
        (
            "KC-BLD-015, RT-KUS-005",
            "images: [{name: x, newTag: v1, digest: sha256:a}]\n",
            Overlay {
                images: vec![image("x", "other", "", "")],
                ..base()
            },
            "images:\n- digest: sha256:a\n  name: x\n  newName: other\n  newTag: v1\n",
        ),
        (
            "KC-BLD-015, RT-KUS-005",
            "images: [{name: x, newName: other}]\n",
            Overlay {
                images: vec![image("x", "", "", "")],
                ..base()
            },
            "images:\n- name: x\n  newName: other\n",
        ),
        // An unknown name is appended; later entries of the same name change it.
        (
            "KC-BLD-015, RT-KUS-005",
            "images: [{name: x, newTag: v1}]\n",
            Overlay {
                images: vec![image("z", "m", "", ""), image("z", "", "v3", "")],
                ..base()
            },
            "images:\n- name: x\n  newTag: v1\n- name: z\n  newName: m\n  newTag: v3\n",
        ),
        (
            "KC-BLD-016",
            "buildMetadata: [managedByLabel]\n",
            Overlay {
                build_metadata: vec!["transformerAnnotations".into()],
                ..base()
            },
            "buildMetadata:\n- transformerAnnotations\n",
        ),
        (
            "KC-BLD-016",
            "buildMetadata: [managedByLabel]\n",
            base(),
            "buildMetadata:\n- managedByLabel\n",
        ),
        (
            "KC-BLD-017",
            "patchesStrategicMerge: [own.yaml]\npatchesJson6902: [{path: own.yaml, target: {name: own}}]\n",
            Overlay {
                patches_strategic_merge: vec![Value::map()],
                patches_json6902: vec![(
                    Value::Seq(Vec::new()),
                    Selector {
                        name: "a".into(),
                        ..Selector::default()
                    },
                )],
                ..base()
            },
            "patchesJson6902:\n- path: own.yaml\n  target:\n    name: own\n- patch: '[]'\n  target:\n    name: a\n\
             patchesStrategicMerge:\n- own.yaml\n- '{}'\n",
        ),
    ]
}

#[test]
fn the_spec_changes_the_root_kustomization() {
    for (row, root, overlay, want) in laid_over() {
        let root = format!("resources: [a.yaml]\n{root}");
        let files = tree(&[
            ("app/kustomization.yaml", &root),
            ("app/a.yaml", MAP),
            ("c/kustomization.yaml", "kind: Component"),
        ]);
        let prepared = prepare(&files, &path("app"), &overlay).unwrap();
        let written = root_file(&prepared, "kustomization.yaml");
        // The lines that are equal in every case, in key order.
        let rest: String = written
            .replace("apiVersion: kustomize.config.k8s.io/v1beta1\n", "")
            .replace("kind: Kustomization\n", "")
            .replace("resources:\n- a.yaml\n", "");
        assert_eq!(rest, want, "{row}: {root}");
    }
}

#[test]
fn components_have_to_be_local() {
    // KC-BLD-012, KC-BLD-013
    for (component, local) in [
        ("../c", true),
        ("c", true),
        ("git", true),
        ("git@", true),
        ("/c", false),
        ("file:///c", false),
        ("HTTPS://example.com/c", false),
        ("github.com/org/repo", false),
        ("git::x", false),
    ] {
        assert_eq!(is_local(component), local, "{component}");
    }
    let overlay = Overlay {
        components: vec!["/c".into()],
        ..Overlay::default()
    };
    let error = prepare(&tree(&[("a.yaml", MAP)]), &path(""), &overlay).unwrap_err();
    assert_eq!(
        error.to_string(),
        "component path '/c' must be local and relative"
    );
}
