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
    // KC-BLD-002, KC-BLD-004, KZ-FLX-001, RT-KUS-001
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
    // KC-BLD-001, KC-BLD-007, KC-BLD-018, KC-BLD-036, RT-KUS-001
    let files = tree(&[
        (
            "kustomization.yml",
            "resources: [a.yaml]\nfrobs: 1\nimages: [{name: x, newTag: 1.10}]\nNamePrefix: 7\n",
        ),
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
fn a_file_without_resources_tells_origins() {
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

#[test]
fn the_spec_is_laid_over() {
    // KC-BLD-008, KC-BLD-009, KC-BLD-010, KC-BLD-011, KC-BLD-014, KC-BLD-015, KC-BLD-017, RT-KUS-004, RT-KUS-005
    let files = tree(&[
        (
            "app/kustomization.yaml",
            "namespace: old\nnamePrefix: old-\nresources: [a.yaml]\npatches: [{path: p.yaml}]\n\
             images: [{name: x, newTag: v1, digest: sha256:a}, {name: w, newName: z}]\n",
        ),
        ("app/a.yaml", MAP),
        ("c/kustomization.yaml", "kind: Component"),
    ]);
    let image = |name: &str, new_name: &str, new_tag: &str| Image {
        name: name.into(),
        new_name: new_name.into(),
        new_tag: new_tag.into(),
        digest: String::new(),
    };
    let overlay = Overlay {
        target_namespace: Some("new".into()),
        name_prefix: Some("new-".into()),
        name_suffix: Some("-s".into()),
        patches: vec![Patch {
            patch: "kind: X".into(),
            target: Some(Selector {
                kind: "ConfigMap".into(),
                ..Selector::default()
            }),
        }],
        components: vec!["../c".into(), "../gone".into()],
        ignore_missing_components: true,
        images: vec![
            image("x", "", "v2"),
            image("w", "", ""),
            image("n", "m", ""),
            image("n", "", "v3"),
        ],
        patches_strategic_merge: vec![Value::map()],
        patches_json6902: vec![(
            Value::Seq(Vec::new()),
            Selector {
                name: "a".into(),
                ..Selector::default()
            },
        )],
        ..Overlay::default()
    };
    let prepared = prepare(&files, &path("app"), &overlay).unwrap();
    assert_eq!(
        root_file(&prepared, "kustomization.yaml"),
        "apiVersion: kustomize.config.k8s.io/v1beta1\ncomponents:\n- ../c\nimages:\n- name: x\n  newTag: v2\n- name: w\n  \
         newName: z\n- name: \"n\"\n  newName: m\n  newTag: v3\nkind: Kustomization\nnamePrefix: new-\nnameSuffix: -s\n\
         namespace: new\npatches:\n- path: p.yaml\n- patch: 'kind: X'\n  target:\n    kind: ConfigMap\n\
         patchesJson6902:\n- patch: '[]'\n  target:\n    name: a\npatchesStrategicMerge:\n- '{}'\nresources:\n- a.yaml\n"
    );
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
