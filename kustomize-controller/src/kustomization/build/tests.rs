//! Tests of building a Kustomization.

mod overlay;

use flux_budget::Budget;
use flux_references::ReadError;
use flux_runtime::queue::Key;
use flux_runtime::work::WorkFolders;
use flux_tree::{Tree, TreePath};
use git_servers::{HttpGitServer, Repo};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::*;
use crate::kustomization::memory::{self, Made, Memories};

const TIMEOUT: Duration = Duration::from_mins(1);

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n";

fn map(name: &str) -> String {
    MAP.replace("name: a", &format!("name: {name}"))
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (name, text) in files {
        match text.strip_prefix("-> ") {
            Some(target) => tree
                .insert(path(name), flux_tree::Entry::Symlink(target.to_owned()))
                .unwrap(),
            None => tree
                .insert_file(path(name), (*text).to_owned(), false)
                .unwrap(),
        }
    }
    tree
}

/// A spec with these fields.
fn spec_of(fields: &Json) -> KustomizationSpec {
    let mut spec =
        json!({"interval": "10m", "prune": true, "sourceRef": {"kind": "Bucket", "name": "b"}});
    for (key, value) in fields.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn builder(remote_bases: bool) -> Builder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let work = WorkFolders::new("kustomize-controller-test");
    let remotes = remote_bases::Remotes::new(client, Budget::unlimited(), work);
    Builder::new(remotes, remote_bases, true, Budget::unlimited())
}

/// Builds the folder `app` of these files.
async fn build_with(
    builder: &Builder,
    files: &[(&str, &str)],
    spec: &Json,
    variables: Result<&Inputs, &Arc<VariablesError>>,
    timeout: Duration,
) -> Result<Built, BuildError> {
    let files = Files {
        tree: Arc::new(tree(files)),
        path: path("app"),
    };
    let inputs = BuildInputs {
        spec: &spec_of(spec),
        files: &files,
        variables,
        decryptor: None,
        owner: &Owner::default(),
        timeout,
    };
    builder.build(inputs).await
}

async fn build(builder: &Builder, files: &[(&str, &str)], spec: &Json) -> Result<Built, String> {
    let inline = spec["postBuild"]["substitute"].as_object();
    let inline = inline.into_iter().flatten();
    let variables = Inputs {
        variables: inline
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        digest: "of the variables".into(),
    };
    let built = build_with(builder, files, spec, Ok(&variables), TIMEOUT).await;
    built.map_err(|error| flux_runtime::outcome::chain(&error))
}

/// Kind and name of the objects, in order, each with its annotation `script` if it has one.
fn named(built: &Built) -> String {
    let objects = built.prepared.objects.iter();
    let names: Vec<String> = objects
        .map(|object| {
            let script = object
                .at(&["metadata", "annotations", "script"])
                .and_then(Json::as_str);
            let script = script
                .map(|script| format!(" {script}"))
                .unwrap_or_default();
            format!("{}/{}{script}", object.kind(), object.name())
        })
        .collect();
    names.join(" ")
}

/// Files, further fields of the spec, and the expected objects, or parts of the expected error.
type Case<'c> = (
    &'c str,
    &'c [(&'c str, &'c str)],
    Json,
    Result<&'c str, &'c [&'c str]>,
);

fn cases() -> Vec<Case<'static>> {
    const ROOT: &str = "app/kustomization.yaml";
    vec![
        // KC-BLD-019, RT-KUS-009
        (
            "files of the artifact outside the folder may be read",
            &[
                (ROOT, "resources: [../shared/a.yaml]"),
                ("shared/a.yaml", MAP),
            ],
            json!({}),
            Ok("ConfigMap/a"),
        ),
        (
            "objects stay in the order of the files",
            &[
                (ROOT, "resources: [z.yaml, ns.yaml]"),
                ("app/z.yaml", MAP),
                (
                    "app/ns.yaml",
                    "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: n\n",
                ),
            ],
            json!({}),
            Ok("ConfigMap/a Namespace/n"),
        ),
        (
            "programs are not run",
            &[
                (ROOT, "resources: [a.yaml]\ntransformers: [t.yaml]"),
                ("app/a.yaml", MAP),
                (
                    "app/t.yaml",
                    "apiVersion: example.com/v1\nkind: Any\nmetadata:\n  name: t\n  annotations:\n    \
                     config.kubernetes.io/function: |\n      exec: {path: /bin/true}\n",
                ),
            ],
            json!({}),
            Err(&["kustomize build failed: "]),
        ),
        // KC-BLD-020, RT-KUS-009
        (
            "charts are not inflated",
            &[(ROOT, "helmCharts: [{name: c, repo: https://127.0.0.1:1}]")],
            json!({}),
            Err(&["kustomize build failed: ", "must specify --enable-helm"]),
        ),
        // KC-BLD-021, KC-BLD-030, RT-KUS-009
        (
            "nothing outside the artifact is read",
            &[(ROOT, "resources: [../../../../etc/passwd]")],
            json!({}),
            Err(&[
                "kustomize build failed: ",
                "fs-security-constraint",
                "/etc/passwd' is not in or below '/'",
            ]),
        ),
        (
            "what is outside is not there",
            &[("app/a.yaml", MAP)],
            json!({"components": ["../../../etc"], "ignoreMissingComponents": true}),
            Ok("ConfigMap/a"),
        ),
        // KC-BLD-022
        (
            "a link within the artifact",
            &[
                (ROOT, "resources: [l.yaml]"),
                ("app/l.yaml", "-> ../other/a.yaml"),
                ("other/a.yaml", MAP),
            ],
            json!({}),
            Ok("ConfigMap/a"),
        ),
        (
            "a link out of the artifact",
            &[
                (ROOT, "resources: [l.yaml]"),
                ("app/l.yaml", "-> ../../etc/passwd"),
            ],
            json!({}),
            Err(&["kustomize build failed: ", "fs-security-constraint"]),
        ),
        // KC-BLD-028
        (
            "an openapi schema adds to the built-in kinds",
            &[
                (
                    ROOT,
                    "resources: [web.yaml]\nopenapi: {path: schema.json}\npatches:\n- patch: |\n    apiVersion: apps/v1\n    \
                     kind: Deployment\n    metadata: {name: web}\n    spec: {template: {spec: {containers: [{name: b, image: new}]}}}\n",
                ),
                (
                    "app/web.yaml",
                    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: \
                     [{name: a, image: old}, {name: b, image: old}]}}}\n",
                ),
                ("app/schema.json", r#"{"definitions": {}}"#),
            ],
            json!({"patches": [{"target": {"kind": "Deployment"}, "patch": json!([
                {"op": "test", "path": "/spec/template/spec/containers/0/image", "value": "new"},
                {"op": "test", "path": "/spec/template/spec/containers/1/image", "value": "old"},
            ]).to_string()}]}),
            Ok("Deployment/web"),
        ),
        // KC-BLD-033, RT-SSA-001
        (
            "lists are taken apart",
            &[(
                "app/list.yaml",
                "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: one}}\n\
                 - {apiVersion: v1, kind: ConfigMap, metadata: {name: two}}\n",
            )],
            json!({}),
            Ok("ConfigMap/one ConfigMap/two"),
        ),
        // KC-BLD-034
        (
            "local configuration is left out",
            &[
                (
                    "app/a.yaml",
                    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: local\n  annotations:\n    \
                     config.kubernetes.io/local-config: \"true\"\n",
                ),
                (
                    "app/b.yaml",
                    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: kept\n  annotations:\n    \
                     config.kubernetes.io/local-config: \"false\"\n",
                ),
            ],
            json!({}),
            Ok("ConfigMap/kept"),
        ),
        // KC-SUB-009, KC-SUB-023, RT-KUS-018
        (
            "a variable that is not set",
            &[(
                "app/a.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  v: ${unset}\n",
            )],
            json!({"postBuild": {"substitute": {"set": "1"}}}),
            Err(&[
                "post build failed for 'ConfigMap.v1.[noGrp]/a': envsubst error: variable substitution failed: \
                 variable not set (strict mode): \"unset\"",
            ]),
        ),
        // KC-SUB-008, RT-KUS-014
        (
            "a variable whose name is none",
            &[("app/a.yaml", MAP)],
            json!({"postBuild": {"substitute": {"a-b": "1"}}}),
            Err(&["'a-b' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'"]),
        ),
        // KC-SUB-001, RT-KUS-017
        (
            "text that would be substituted, were it asked for",
            &[(
                "app/a.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  annotations: {script: \"$$ ${unset}\"}\n",
            )],
            json!({}),
            Ok("ConfigMap/a $$ ${unset}"),
        ),
        // KC-SUB-003, RT-KUS-016
        (
            "an object that opts out",
            &[(
                "app/a.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: {kustomize.toolkit.fluxcd.io/substitute: \
                 disabled}\n  annotations: {script: \"$$ ${unset}\"}\n",
            )],
            json!({"postBuild": {"substitute": {"set": "1"}}}),
            Ok("ConfigMap/a $$ ${unset}"),
        ),
        // KC-BLD-004, RT-KUS-008
        (
            "what an artifact holds is built, whatever its ignore files say",
            &[
                ("app/a.yaml", MAP),
                ("app/.sourceignore", "a.yaml\n"),
                (".sourceignore", "app\n"),
            ],
            json!({}),
            Ok("ConfigMap/a"),
        ),
        // KC-BLD-005, KC-SSA-008, RT-KUS-003
        (
            "nothing at all",
            &[("app/notes.txt", "")],
            json!({}),
            Ok(""),
        ),
        // KC-BLD-012, RT-KUS-006
        (
            "a component from elsewhere",
            &[("app/a.yaml", MAP)],
            json!({"components": ["https://example.com/c"]}),
            Err(&["component path 'https://example.com/c' must be local and relative"]),
        ),
        // KC-BLD-003, RT-KUS-002
        (
            "a manifest that is none",
            &[("app/deep/x.yaml", "a: b\n c: d\n")],
            json!({}),
            Err(&["failed to decode Kubernetes YAML from ", "deep/x.yaml: "]),
        ),
    ]
}

#[tokio::test]
async fn folders_build_to_the_expected_objects() {
    let mut wrong = Vec::new();
    for (note, files, spec, want) in cases() {
        let got = build(&builder(true), files, &spec).await;
        let same = match (&got, want) {
            (Ok(built), Ok(want)) => named(built) == want,
            (Err(error), Err(parts)) => parts.iter().all(|part| error.contains(part)),
            _ => false,
        };
        if !same {
            wrong.push(format!("{note}: {:?}", got.as_ref().map(named)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_digest_is_computed_over_the_rendered_manifests() {
    // KC-API-043, KC-BLD-032, RT-KUS-015
    let files: &[(&str, &str)] = &[
        ("app/b.yaml", &map("b")),
        (
            "app/a.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"a${set}\"}\ndata: {v: \"${set}\"}\n",
        ),
    ];
    let spec = json!({"postBuild": {"substitute": {"set": "1"}}, "commonMetadata": {"labels": {"not": "counted"}}});
    let built = build(&builder(true), files, &spec).await.unwrap();
    let text = "apiVersion: v1\ndata:\n  v: 1\nkind: ConfigMap\nmetadata:\n  name: a1\n---\n\
                apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\n";
    assert_eq!(
        built.digest,
        format!("sha256:{}", hex::encode(Sha256::digest(text)))
    );

    // KC-BLD-035
    let shared = Arc::new(tree(files));
    let before = (*shared).clone();
    let files = Files {
        tree: shared.clone(),
        path: path("app"),
    };
    let inputs = BuildInputs {
        spec: &spec_of(&spec),
        files: &files,
        variables: Ok(&Inputs::default()),
        decryptor: None,
        owner: &Owner::default(),
        timeout: TIMEOUT,
    };
    let _ = builder(true).build(inputs).await;
    assert_eq!(*shared, before);
}

#[tokio::test]
async fn unreadable_variables_fail_the_first_object_that_would_be_substituted() {
    // KC-SUB-009, KC-BLD-032
    let disabled =
        format!("{MAP}  annotations: {{kustomize.toolkit.fluxcd.io/substitute: disabled}}\n");
    let run = async |files: &[(&str, &str)], spec: &Json| {
        let missing = ReadError::NotFound {
            resource: "secrets".into(),
            name: "vars".into(),
        };
        let variables = Arc::new(VariablesError::Reference {
            kind: "Secret".into(),
            name: "vars".into(),
            source: missing.into(),
        });
        let built = build_with(&builder(true), files, spec, Err(&variables), TIMEOUT).await;
        built
            .map(|built| named(&built))
            .map_err(|error| flux_runtime::outcome::chain(&error))
    };
    let post_build = json!({"postBuild": {"substituteFrom": [{"kind": "Secret", "name": "vars"}]}});
    let b = map("b");
    let files = [
        ("app/a.yaml", disabled.as_str()),
        ("app/b.yaml", b.as_str()),
    ];
    assert_eq!(
        run(&files, &post_build).await,
        Err("post build failed for 'ConfigMap.v1.[noGrp]/b': substitute from 'Secret/vars' error: secrets \"vars\" not found".to_owned())
    );
    let left_alone = run(&files[..1], &post_build).await;
    assert_eq!(left_alone, Ok("ConfigMap/a".to_owned()));
    let broken = [("app/a.yaml", MAP), ("app/z.yaml", "a: [")];
    let error = run(&broken, &post_build).await.unwrap_err();
    assert!(
        error.starts_with("failed to decode Kubernetes YAML from /app/z.yaml"),
        "{error}"
    );
}

#[tokio::test]
async fn concurrent_builds_share_no_state() {
    // KC-BLD-027, RT-KUS-012
    let patch = "patches:\n- patch: |\n    apiVersion: example.com/v1\n    kind: Thing\n    metadata: {name: t}\n    spec: \
                 {parts: [{name: b, size: 2}]}\n";
    let with_schema = format!("resources: [t.yaml]\nopenapi: {{path: schema.json}}\n{patch}");
    let without = format!("resources: [t.yaml]\n{patch}");
    let thing = "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t}\nspec: {parts: [{name: a, size: 1}]}\n";
    let schema = json!({"definitions": {"v1.Thing": {
        "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Thing"}],
        "properties": {"spec": {"properties": {"parts": {
            "type": "array", "x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge",
            "items": {"type": "object"}}}}}}}})
    .to_string();
    let builder = builder(true);
    let runs = (0..16).map(|number| {
        let (merges, builder) = (number % 2 == 0, &builder);
        let root = if merges { &with_schema } else { &without };
        let files = [
            ("app/kustomization.yaml", root.as_str()),
            ("app/t.yaml", thing),
            ("app/schema.json", schema.as_str()),
        ];
        async move {
            let variables = Inputs::default();
            let built = build_with(builder, &files, &json!({}), Ok(&variables), TIMEOUT)
                .await
                .unwrap();
            let parts = built.prepared.objects[0]
                .at(&["spec", "parts"])
                .and_then(Json::as_array)
                .map(Vec::len);
            assert_eq!(parts, Some(if merges { 2 } else { 1 }), "build {number}");
        }
    });
    futures::future::join_all(runs).await;
}

#[tokio::test]
async fn a_panicking_build_returns_an_error() {
    // KC-BLD-029, RT-KUS-011, KZ-FLX-004
    for (panic, text) in [
        (
            Box::new(|| -> () { panic!("plain") }) as Box<dyn FnOnce() + Send>,
            "plain",
        ),
        (
            // A formatted message may quote a Secret.
            Box::new(|| -> () { panic!("formatted {}", std::hint::black_box(1)) }),
            "its text may quote a Secret and is not shown",
        ),
    ] {
        let work = move || {
            panic();
            Ok(())
        };
        let error = on_blocking_thread(work).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("kustomize build failed: recovered from kustomize build panic: {text}")
        );
    }
}

#[tokio::test]
async fn remote_bases_are_fetched_unless_disabled() {
    // KC-BLD-023, RT-KUS-010
    let server = HttpGitServer::builder()
        .answer("/plain.yaml", 200, MAP)
        .start();
    let repo = Repo::init(server.root(), "bases.git");
    let _ = repo
        .commit("main")
        .file(
            "base/kustomization.yaml",
            "resources: [b.yaml]\nnamePrefix: from-git-\n",
        )
        .file("base/b.yaml", map("b"))
        .create();
    let root = format!(
        "resources:\n- {}\n- {}//base?ref=main\n",
        server.url("plain.yaml"),
        server.url("bases.git")
    );
    let files: &[(&str, &str)] = &[("app/kustomization.yaml", &root)];
    let allowing = builder(true);
    let built = build(&allowing, files, &json!({})).await.unwrap();
    assert_eq!(named(&built), "ConfigMap/a ConfigMap/from-git-b");

    // A remote base may have changed without a new revision.
    assert!(built.from_elsewhere);
    let here = build(&allowing, &[("app/a.yaml", MAP)], &json!({})).await;
    assert!(!here.unwrap().from_elsewhere);

    // KC-PROC-007, KC-BLD-025, KZ-REM-024
    let asked = server.requests().len();
    let error = build(&builder(false), files, &json!({})).await.unwrap_err();
    assert!(error.contains("remote bases are disabled"), "{error}");
    assert_eq!(server.requests().len(), asked, "nothing was asked for");
}

#[tokio::test]
async fn remote_files_are_bounded_in_size() {
    // KC-BLD-026
    let server = HttpGitServer::builder()
        .answer("/huge.yaml", 200, &"#".repeat(17 << 20))
        .answer("/gone.yaml", 410, "")
        .start();
    for (name, part) in [("huge.yaml", "16777216"), ("gone.yaml", "410")] {
        let root = format!("resources: [\"{}\"]\n", server.url(name));
        let error = build(
            &builder(true),
            &[("app/kustomization.yaml", &root)],
            &json!({}),
        )
        .await
        .unwrap_err();
        assert!(
            error.starts_with("kustomize build failed: ") && error.contains(part),
            "{error}"
        );
    }
}

#[tokio::test]
async fn non_string_names_labels_and_list_items_are_reported() {
    let built = |text: &'static str| async move {
        let files: &[(&str, &str)] = &[("app/a.yaml", text)];
        build(&builder(true), files, &json!({})).await
    };
    // RT-SSA-001
    let numbered = "{apiVersion: v1, kind: ConfigMap, metadata: {name: 123}, data: {a: x}}";
    let error = built(numbered).await.unwrap_err();
    assert!(
        error.contains("failed to decode Kubernetes apiVersion, kind and name from: "),
        "{error}"
    );
    // KC-SSA-001: the API server reports which label is invalid
    let labelled =
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {n: 1, b: true}}}";
    let objects = &built(labelled).await.unwrap().prepared.objects;
    let labels = objects[0].at(&["metadata", "labels"]).unwrap();
    assert_eq!((&labels["n"], &labels["b"]), (&json!(1), &json!(true)));
    // KC-SSA-003
    let null = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [null, {name: c, args: [null]}]}}";
    let objects = &built(null).await.unwrap().prepared.objects;
    let containers = objects[0].at(&["spec", "containers"]).unwrap();
    assert_eq!(containers[0], json!({"name": "", "resources": {}}));
    assert_eq!(containers[1]["args"], json!([""]));
    // KC-BLD-033: in a list, too, only null items are removed
    let list = "{apiVersion: v1, kind: ConfigMapList, items: [null, {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}]}";
    let error = built(list).await.map(|built| built.prepared.objects.len());
    assert_eq!(error.unwrap_or_default(), 1);
}

#[tokio::test]
async fn an_object_without_api_version_is_reported_without_its_content() {
    // KC-BLD-031
    let files: &[(&str, &str)] = &[
        ("app/kustomization.yaml", "resources: [s.yaml]"),
        (
            "app/s.yaml",
            "kind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\n",
        ),
    ];
    let error = build(&builder(true), files, &json!({})).await.unwrap_err();
    assert!(
        error.contains("failed to decode Kubernetes apiVersion, kind and name from: "),
        "{error}"
    );
    assert!(
        error.contains("Secret") && !error.contains("hunter2"),
        "{error}"
    );
}

fn bounded(budget: Budget) -> Builder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let work = WorkFolders::new("kustomize-controller-test");
    let remotes = remote_bases::Remotes::new(client, budget.clone(), work);
    Builder::new(remotes, true, true, budget)
}

#[tokio::test]
async fn builds_claim_and_release_their_memory() {
    let budget = Budget::new(16 << 20);
    let builder = bounded(budget.clone());
    let copies: Vec<String> = (0..24)
        .map(|at| format!("- {{op: copy, from: /data, path: /data/x{at}}}\n"))
        .collect();
    let files: &[(&str, &str)] = &[
        (
            "app/kustomization.yaml",
            "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n",
        ),
        ("app/a.yaml", &format!("{MAP}data: {{a: b}}\n")),
        ("app/p.yaml", &copies.concat()),
    ];
    let error = build(&builder, files, &json!({})).await.unwrap_err();
    assert!(
        error.starts_with("kustomize build failed: PatchTransformer: not enough memory: ")
            && error.ends_with(" needed, 16 MiB available to this process"),
        "{error}"
    );
    assert_eq!(budget.used(), 0);

    // Likewise for a text that grows by substitution.
    let files: &[(&str, &str)] = &[(
        "app/a.yaml",
        &format!("{MAP}data: {{a: '{}'}}\n", "${v//a/${v}}".repeat(500)),
    )];
    let spec = json!({"postBuild": {"substitute": {"v": "a".repeat(300)}}});
    let error = build(&builder, files, &spec).await.unwrap_err();
    assert!(error.contains("not enough memory: "), "{error}");
    assert_eq!(budget.used(), 0);

    // The claim lives as long as the build.
    let built = build(&builder, &[("app/a.yaml", MAP)], &json!({}))
        .await
        .unwrap();
    assert!(budget.used() > 0 && budget.used() == built.bytes());
    drop(built);
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn cached_builds_are_evicted_for_running_ones() {
    let budget = Budget::new(8 << 20);
    let (builder, memories) = (bounded(budget.clone()), Memories::new(budget.clone()));
    let text = format!("{MAP}data: {{a: {}}}\n", "x".repeat(1 << 20));
    let built = build(&builder, &[("app/a.yaml", &text)], &json!({})).await;
    let inputs = memory::Inputs {
        made: Made {
            uid: "u".into(),
            generation: 1,
            artifact: "sha256:a".into(),
            keys: String::new(),
        },
        variables: "v".into(),
    };
    memories.keep_build(&Key::new("ns", "app"), inputs, Arc::new(built.unwrap()));
    let kept = budget.used();
    assert!(kept > 1 << 20);
    // Other claims leave too little for another such build, unless the kept one is dropped.
    let others = budget.claim();
    others.take((8 << 20) - kept - (3 << 19)).unwrap();
    let other = text.replace('x', "y");
    let files = Files {
        tree: Arc::new(tree(&[("app/a.yaml", &other)])),
        path: path("app"),
    };
    let inputs = BuildInputs {
        spec: &spec_of(&json!({"namePrefix": "x-"})),
        files: &files,
        variables: Ok(&Inputs::default()),
        decryptor: None,
        owner: &Owner::default(),
        timeout: TIMEOUT,
    };
    let built = builder.build(inputs).await.unwrap();
    assert_eq!(built.prepared.objects[0].name(), "x-a");
    drop(built);
    // With no kept build to drop, the budget stays exhausted.
    others.take((8 << 20) - others.held() - (1 << 20)).unwrap();
    let busy = builder.build(inputs).await.unwrap_err();
    assert!(busy.is_busy(), "{busy:?}");
}

#[tokio::test]
async fn a_build_times_out() {
    // A server that accepts a connection and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let root = format!(
        "resources: ['http://{}/a.yaml']\n",
        silent.local_addr().unwrap()
    );
    let error = build_with(
        &builder(true),
        &[("app/kustomization.yaml", &root)],
        &json!({}),
        Ok(&Inputs::default()),
        Duration::from_millis(200),
    )
    .await
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "kustomize build failed: the build did not end within 200ms"
    );
}

#[tokio::test]
async fn remote_files_claim_memory() {
    let server = HttpGitServer::builder()
        .answer("/a.yaml", 200, &"#".repeat(3 << 20))
        .answer("/b.yaml", 200, &"#".repeat(3 << 20))
        .start();
    let (a, b) = (server.url("a.yaml"), server.url("b.yaml"));
    let budget = Budget::new(8 << 20);
    let error = build(
        &bounded(budget.clone()),
        &[(
            "app/kustomization.yaml",
            &format!("resources: ['{a}', '{b}']\n"),
        )],
        &json!({}),
    )
    .await
    .unwrap_err();
    assert!(
        error.starts_with("kustomize build failed: not enough memory: "),
        "{error}"
    );
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn errors_hide_passwords_and_tokens_in_urls() {
    for url in [
        "http://user:m4rk3d@127.0.0.1:1/a.yaml",
        "http://127.0.0.1:1/a.yaml?token=m4rk3d",
    ] {
        let root = format!("resources: ['{url}']\n");
        let error = build(
            &builder(true),
            &[("app/kustomization.yaml", &root)],
            &json!({}),
        )
        .await
        .unwrap_err();
        assert!(
            error.contains("127.0.0.1:1/a.yaml") && !error.contains("m4rk3d"),
            "{error}"
        );
    }
}
