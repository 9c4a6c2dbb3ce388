//! Which files of a tree are decrypted, which objects, and what is said of those that cannot be.

use std::error::Error;

use flux_sops::{Answers, Format, Keyring};
use flux_tree::{Entry, Tree, TreePath};
use flux_yaml::Value;
use serde_json::json;

use super::objects::{decrypt, needs};
use super::sources::{Found, find};

const YAML: &str = "a: b\nsops:\n    mac: ENC[x]\n";
const ENV: &str = "sops_mac=ENC[x]\n";
const JSON: &str = "{\"sops\": {\"mac\": \"ENC[x]\"}}";
const INI: &str = "[sops]\nmac = x\n";

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (path, content) in files {
        let path = TreePath::new(path).unwrap();
        tree.insert_file(path, (*content).to_owned(), false)
            .unwrap();
    }
    tree
}

fn link(tree: &mut Tree, path: &str, target: &str) {
    let entry = Entry::Symlink(target.to_owned());
    tree.insert(TreePath::new(path).unwrap(), entry).unwrap();
}

/// What is found from `app` on: paths with formats, and the error.
fn found(tree: &Tree) -> (Vec<String>, Option<String>) {
    let Found { files, error } = find(tree, &TreePath::new("app").unwrap());
    let files = files
        .iter()
        .map(|file| format!("{} {}", file.path, file.format.name()));
    (files.collect(), error.map(|error| error.to_string()))
}

#[test]
fn the_files_of_generators_and_patches_are_found() {
    // KC-SOPS-002, KC-SOPS-003, KC-SOPS-005
    let root = "
resources: [../base, map.yaml, https://example.com/app, missing]
components: [../component]
secretGenerator:
- files: [a.yaml, b.json=b.txt, c.txt, /abs.ini, untouched.yaml]
  envs: [d.env, e.txt, f.yaml]
configMapGenerator:
- files: [map.env]
patches:
- path: patch.yaml
- path: https://example.com/patch.yaml
- patch: '{}'
bases: [../old]
patchesStrategicMerge: [old.yaml]
";
    let tree = tree(&[
        ("app/kustomization.yaml", root),
        ("app/map.yaml", YAML),
        ("app/a.yaml", YAML),
        ("app/b.txt", JSON),
        ("app/c.txt", JSON),
        ("abs.ini", INI),
        ("app/untouched.yaml", "mac: none\n"),
        ("app/d.env", ENV),
        ("app/e.txt", ENV),
        ("app/f.yaml", YAML),
        ("app/map.env", ENV),
        ("app/patch.yaml", YAML),
        ("app/old.yaml", YAML),
        (
            "old/kustomization.yaml",
            "secretGenerator: [{envs: [x.env]}]\n",
        ),
        ("old/x.env", ENV),
        (
            "base/kustomization.yml",
            "resources: [../app]\nsecretGenerator: [{envs: [g.env], env: old.env}]\n",
        ),
        ("base/g.env", ENV),
        ("component/Kustomization", "components: [nested]\n"),
        (
            "component/nested/kustomization.yaml",
            "secretGenerator: [{envs: [h.env, ../../base/g.env]}]\n",
        ),
        ("component/nested/h.env", ENV),
    ]);
    // KC-SOPS-008, KC-SOPS-010, FR-N-124
    let expected = [
        "app/a.yaml YAML",
        "app/b.txt JSON",
        "app/c.txt binary",
        "abs.ini INI",
        "app/d.env dotenv",
        "app/e.txt dotenv",
        "app/f.yaml YAML",
        "app/patch.yaml YAML",
        "base/g.env dotenv",
        "component/nested/h.env dotenv",
    ];
    assert_eq!(found(&tree), (expected.map(str::to_owned).to_vec(), None));
}

#[test]
fn a_file_in_another_format_stays_as_it_is() {
    // KC-SOPS-005
    let root =
        "secretGenerator: [{files: [a.yaml, b.json, c.ini, x.json=a.yaml], envs: [d.env]}]\n";
    let files = [
        ("app/kustomization.yaml", root),
        ("app/a.yaml", ENV),
        ("app/b.json", YAML),
        ("app/c.ini", ENV),
        ("app/d.env", INI),
    ];
    assert_eq!(found(&tree(&files)), (Vec::new(), None));
}

#[test]
fn files_that_are_none_or_too_large_are_errors() {
    let error = |files: &[(&str, &str)]| {
        let mut all = vec![(
            "app/kustomization.yaml",
            "secretGenerator: [{envs: [a.env]}]\n",
        )];
        all.extend_from_slice(files);
        found(&tree(&all)).1
    };
    // KC-SOPS-006
    let irregular = "cannot decrypt irregular file as it has file mode type bits set";
    assert_eq!(error(&[("app/a.env/x", "")]).as_deref(), Some(irregular));
    let large = "x".repeat((5 << 20) + 1);
    let too_large = "cannot decrypt file with size (5242881 bytes) exceeding limit (5242880)";
    assert_eq!(error(&[("app/a.env", &large)]).as_deref(), Some(too_large));
    assert_eq!(error(&[("app/a.env", &large[1..])]), None);
    // KC-SOPS-007
    let missing = "lstat app/a.env: no such file or directory";
    assert_eq!(error(&[]).as_deref(), Some(missing));
}

#[test]
fn paths_and_links_do_not_leave_the_root() {
    // KC-SOPS-007
    let root = "resources: [../../../outside]\nsecretGenerator: [{envs: [absolute, up, chain, ../../../d.env]}]\n";
    let mut tree = tree(&[
        ("app/kustomization.yaml", root),
        ("a.env", ENV),
        ("b.env", ENV),
        ("c.env", ENV),
        ("d.env", ENV),
    ]);
    link(&mut tree, "app/absolute", "/a.env");
    link(&mut tree, "app/up", "../../../../b.env");
    link(&mut tree, "app/chain", "second");
    link(&mut tree, "app/second", "../c.env");
    let (files, error) = found(&tree);
    let expected = [
        "a.env dotenv",
        "b.env dotenv",
        "c.env dotenv",
        "d.env dotenv",
    ];
    assert_eq!(files, expected);
    assert_eq!(error, None);
    // As upstream: joined as text, where the tree is two folders below the root of a disk.
    let root = "secretGenerator: [{envs: [../../d.env]}]\n";
    let tree = self::tree(&[("app/kustomization.yaml", root), ("d.env", ENV)]);
    let error = found(&tree).1;
    assert_eq!(
        error.as_deref(),
        Some("lstat tmp/d.env: no such file or directory")
    );
    let mut tree = Tree::new();
    link(&mut tree, "app/kustomization.yaml", "kustomization.yaml");
    let error = found(&tree).1;
    assert_eq!(error.as_deref(), Some("too many levels of symbolic links"));
}

#[test]
fn a_folder_has_exactly_one_kustomization() {
    // KC-SOPS-009
    let error = |files: &[(&str, &str)]| {
        let mut all = vec![("app/kustomization.yaml", "resources: [below]\n")];
        all.extend_from_slice(files);
        found(&tree(&all)).1
    };
    assert_eq!(error(&[("below/x", "")]), None, "another folder");
    assert_eq!(
        error(&[("app/below/x", "")]).as_deref(),
        Some("no kustomization file found")
    );
    let two = [
        ("app/below/kustomization.yaml", ""),
        ("app/below/Kustomization", ""),
    ];
    assert_eq!(
        error(&two).as_deref(),
        Some("found multiple kustomization files")
    );
    let folder = [("app/below/kustomization.yml/x", "")];
    assert_eq!(
        error(&folder).as_deref(),
        Some("expected kustomization.yml to be a regular file")
    );
    let invalid = error(&[("app/below/kustomization.yaml", "a: [")]);
    assert!(invalid.is_some_and(|text| text.starts_with(
        "failed to unmarshal kustomization file from '/app/below/kustomization.yaml': "
    )));
}

fn value(json: &serde_json::Value) -> Value {
    flux_yaml::json::from_str(json.to_string()).unwrap()
}

fn text(error: &dyn Error) -> String {
    flux_errors::chain(error)
}

#[test]
fn only_encrypted_objects_are_decrypted() {
    let attempt = |object: &serde_json::Value| {
        let result = decrypt(&value(object), &Keyring::default(), &Answers::new());
        result
            .map(|found| found.is_some())
            .map_err(|error| text(&error))
    };
    let object = |kind: &str, rest: serde_json::Value| {
        let mut object =
            json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "n", "namespace": "ns"}});
        object
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().cloned().unwrap());
        object
    };
    let sops = json!({"sops": {"mac": "ENC[x]"}});
    // KC-SOPS-011, KC-SOPS-016
    let failed = "failed to decrypt and format 'ns/n' ConfigMap data: failed to load encrypted JSON data: parsing time \"\" as";
    assert!(
        attempt(&object("ConfigMap", sops.clone()))
            .unwrap_err()
            .starts_with(failed)
    );
    for rest in [
        json!({}),
        json!({"sops": {}}),
        json!({"sops": {"mac": ""}}),
        json!({"sops": null}),
    ] {
        assert_eq!(
            attempt(&object("ConfigMap", rest.clone())),
            Ok(false),
            "{rest}"
        );
    }
    // KC-SOPS-013
    let annotated = |value: &str| {
        let mut object = object("ConfigMap", sops.clone());
        object["metadata"]["annotations"] = json!({"kustomize.toolkit.fluxcd.io/decrypt": value});
        object
    };
    assert_eq!(attempt(&annotated("dISABLED")), Ok(false));
    assert!(attempt(&annotated("no")).is_err());
    let mut labelled = object("ConfigMap", sops);
    labelled["metadata"]["labels"] = json!({"kustomize.toolkit.fluxcd.io/decrypt": "disabled"});
    assert!(attempt(&labelled).is_err());
    // KC-SOPS-012
    let encoded = |text: &str| flux_golang::encoding::base64(text.as_bytes());
    let data = json!({"data": {"a": "*", "b": encoded("plain"), "c": 1}});
    assert_eq!(attempt(&object("Secret", data)), Ok(false));
    let data = json!({"data": {"key.env": encoded(ENV)}});
    let failed = "failed to decrypt and format 'ns/n' Secret field 'key.env': failed to load encrypted dotenv data: parsing time \"\" as";
    assert!(
        attempt(&object("Secret", data.clone()))
            .unwrap_err()
            .starts_with(failed)
    );
    assert_eq!(attempt(&object("ConfigMap", data)), Ok(false));
}

#[test]
fn services_are_asked_before_objects_are_decrypted() {
    // KC-SOPS-016
    let entry = json!({"arn": "arn:aws:kms:eu-west-1:1:key/a", "created_at": "2026-01-02T03:04:05Z", "enc": "YQ=="});
    let sops = json!({"kms": [entry], "lastmodified": "2026-01-02T03:04:05Z", "mac": "ENC[x]"});
    let object =
        json!({"apiVersion": "v1", "kind": "ENC[x]", "metadata": {"name": "n"}, "sops": sops});
    let (object, ring) = (value(&object), Keyring::default());
    let needed = needs(&object, &ring, &Answers::new());
    assert_eq!(needed.len(), 1);
    assert_eq!(needed[0].to_string(), "arn:aws:kms:eu-west-1:1:key/a");
    let refused = Err("denied".to_owned());
    let answers = Answers::from([(needed[0].clone(), refused)]);
    assert!(needs(&object, &ring, &answers).is_empty());
    let error = decrypt(&object, &ring, &answers).map(drop).unwrap_err();
    assert!(text(&error).contains("    - | denied"), "{}", text(&error));
    // The kind is no encrypted value.
    let key = flux_sops::DataKey::new([1; 32]);
    let answers = Answers::from([(needed[0].clone(), Ok(key))]);
    let error = decrypt(&object, &ring, &answers).map(drop).unwrap_err();
    assert!(text(&error).ends_with("Input string <redacted> does not match sops' data format"));
    assert_eq!(Format::Json.name(), "JSON");
}
