//! Inputs of a few kilobytes that require excessive depth, memory or work: each ends in an error that says so.

use std::sync::Arc;

use flux_budget::Budget;
use flux_kustomize::{
    Allowance, Build, Error, Limited, Options, Output, Remotes, build_within, flux,
};
use flux_tree::{Tree, TreePath};

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n";
const ROOT: &str = "kustomization.yaml";

type Files = Vec<(String, String)>;

fn tree(files: &Files) -> Tree {
    let mut tree = Tree::new();
    for (path, text) in files {
        let path = TreePath::new(path).unwrap();
        tree.insert_file(path, text.clone(), false).unwrap();
    }
    tree
}

/// A build of the root and an object in `a.yaml`, unless `others` has one.
fn files(root: &str, others: &[(&str, &str)]) -> Files {
    let mut all = vec![(ROOT.to_owned(), root.to_owned())];
    if others.iter().all(|(name, _)| *name != "a.yaml") {
        all.push(("a.yaml".into(), MAP.into()));
    }
    let others = others.iter();
    all.extend(others.map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
    all
}

fn run(files: &Files, options: &Options, allowance: &Allowance) -> Result<Output, Error> {
    let root = TreePath::root();
    match build_within(&tree(files), &root, options, &Remotes::new(), allowance)? {
        Build::Done(output) => Ok(output),
        Build::Needs(needs) => panic!("asked for {needs:?}"),
    }
}

fn repeated(part: &str, separator: &str, times: usize) -> String {
    vec![part; times].join(separator)
}

/// A number of mappings nested in one another, in flow style.
fn nested(levels: usize) -> String {
    format!("{}{}", "{a: ".repeat(levels), "x") + &"}".repeat(levels)
}

/// Inputs that create depth, with what the message must contain.
fn deep() -> Vec<(&'static str, Files, &'static str)> {
    let slashes = repeated("a", "/", 2000);
    let dots = repeated("a", ".", 20_000);
    let object = format!("{MAP}deep: {}\n", nested(200));
    let deep_200 = &[("a.yaml", object.as_str())][..];
    let field = |list: &str, more: &str| {
        files(
            &format!("resources: [a.yaml]\nconfigurations: [c.yaml]\n{more}\n"),
            &[(
                "c.yaml",
                &format!("{list}:\n- {{path: {slashes}, create: true}}\n"),
            )],
        )
    };
    let replaced = |source: &str, path: &str| {
        format!(
            "resources: [a.yaml]\nreplacements:\n- source: {{kind: ConfigMap, name: a, fieldPath: {source}}}\n  targets:\n  \
             - select: {{kind: ConfigMap}}\n    options: {{create: true}}\n    fieldPaths: ['{path}']\n"
        )
    };
    let patched = |operations: &str| {
        files(
            "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n",
            &[("p.yaml", operations)],
        )
    };
    let added: Vec<_> = (0..300)
        .map(|at| {
            let path = "/a".repeat(at);
            format!("- {{op: add, path: /data{path}/a, value: {{}}}}\n")
        })
        .collect();
    let copied: Vec<_> = (0..12)
        .map(|at| {
            let path = "/x".repeat(1 << at);
            format!("- {{op: copy, from: /data, path: /data{path}}}\n")
        })
        .collect();
    let moved = format!(
        "- {{op: add, path: /one, value: {}}}\n- {{op: add, path: /two, value: {}}}\n- {{op: move, from: /one, path: /two{}/b}}\n",
        nested(200),
        nested(200),
        "/a".repeat(150),
    );
    let json = format!(
        "[{{\"op\": \"add\", \"path\": \"/data/x\", \"value\": {}{}}}]",
        "[".repeat(400),
        "]".repeat(400)
    );
    vec![
        (
            "a label's field",
            files(
                &format!(
                    "resources: [a.yaml]\nlabels: [{{pairs: {{x: z}}, fields: [{{path: {slashes}, create: true}}]}}]\n"
                ),
                &[],
            ),
            "LabelTransformer",
        ),
        (
            "a label's field below what is deep already",
            files(
                &format!(
                    "resources: [a.yaml]\nlabels: [{{pairs: {{x: z}}, fields: [{{path: deep/{}/{}, create: true}}]}}]\n",
                    repeated("a", "/", 199),
                    repeated("b", "/", 100)
                ),
                deep_200,
            ),
            "LabelTransformer",
        ),
        (
            "an annotation's field",
            field("commonAnnotations", "commonAnnotations: {x: z}"),
            "AnnotationsTransformer",
        ),
        (
            "a common label's field",
            field("commonLabels", "commonLabels: {x: z}"),
            "LabelTransformer",
        ),
        (
            "the namespace's field",
            field("namespace", "namespace: x"),
            "NamespaceTransformer",
        ),
        (
            "a prefix's field",
            field("namePrefix", "namePrefix: x-"),
            "PrefixTransformer",
        ),
        (
            "a suffix's field",
            field("nameSuffix", "nameSuffix: -x"),
            "SuffixTransformer",
        ),
        (
            "the replicas' field",
            field("replicas", "replicas: [{name: a, count: 1}]"),
            "ReplicaCountTransformer",
        ),
        (
            "a plugin's field",
            files(
                "resources: [a.yaml]\ntransformers: [t.yaml]\n",
                &[(
                    "t.yaml",
                    &format!(
                        "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {{name: t}}\nlabels: {{x: z}}\nfieldSpecs: [{{path: {slashes}, create: true}}]\n"
                    ),
                )],
            ),
            "LabelTransformer",
        ),
        (
            "a value's path",
            files(
                "resources: [a.yaml]\ntransformers: [t.yaml]\n",
                &[(
                    "t.yaml",
                    &format!(
                        "apiVersion: builtin\nkind: ValueAddTransformer\nmetadata: {{name: t}}\nvalue: x\ntargets: [{{fieldPath: {slashes}}}]\n"
                    ),
                )],
            ),
            "ValueAddTransformer",
        ),
        (
            "a replacement's path",
            files(&replaced("data.a", &dots), &[]),
            "ReplacementTransformer",
        ),
        (
            "a replacement's path over indices",
            files(
                &replaced("data.a", &format!("l.{}", repeated("0", ".", 2000))),
                &[],
            ),
            "ReplacementTransformer",
        ),
        (
            "a replacement's path over elements",
            files(
                &replaced("data.a", &format!("l.{}", repeated("[a=b].l", ".", 2000))),
                &[],
            ),
            "ReplacementTransformer",
        ),
        (
            "a deep value in a deep place",
            files(
                &replaced("deep", &format!("other.{}", repeated("a", ".", 100))),
                deep_200,
            ),
            "ReplacementTransformer",
        ),
        (
            "values that double their depth",
            files(
                &replaced(
                    "data",
                    &(0..12)
                        .map(|at| format!("data.{}", repeated("x", ".", 1 << at)))
                        .collect::<Vec<_>>()
                        .join("', '"),
                ),
                &[],
            ),
            "ReplacementTransformer",
        ),
        (
            "a path within a text",
            files(
                &replaced("data.a", &format!("data.json.{dots}")),
                &[(
                    "a.yaml",
                    &MAP.replace("{a: b}", "{a: b, json: '{\"a\": {}}'}"),
                )],
            ),
            "ReplacementTransformer",
        ),
        (
            "a patch that adds to what it added",
            patched(&added.concat()),
            "PatchTransformer",
        ),
        (
            "a patch that copies into itself",
            patched(&copied.concat()),
            "PatchTransformer",
        ),
        ("a patch that moves", patched(&moved), "PatchTransformer"),
        ("a patch in JSON", patched(&json), "PatchTransformer"),
        (
            "an older patch",
            files(
                "resources: [a.yaml]\npatchesJson6902: [{path: p.yaml, target: {version: v1, kind: ConfigMap, name: a}}]\n",
                &[("p.yaml", &added.concat())],
            ),
            "PatchJson6902Transformer",
        ),
    ]
}

#[test]
fn nothing_nests_deeper_than_the_limit() {
    let mut wrong = Vec::new();
    for (what, files, transformer) in deep() {
        match run(&files, &Options::flux(), &Allowance::unlimited()) {
            Err(Error::Limit {
                what: Limited::Nesting,
                allowed: 256,
                message,
            }) => {
                let named = message.contains("ConfigMap.v1.[noGrp]/");
                if !named || !message.contains(transformer) || message.len() > 4096 {
                    wrong.push(format!("{what}: {message:.300}"));
                }
            }
            Err(error) => wrong.push(format!("{what}: {:.300}", error.to_string())),
            Ok(output) => wrong.push(format!("{what}: {} objects", output.resources.len())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn objects_of_the_maximum_depth_are_built() {
    // The root, 254 mappings, and the one that the label is put into.
    let path = repeated("a", "/", 255);
    let root = format!(
        "resources: [a.yaml]\nlabels: [{{pairs: {{x: z}}, fields: [{{path: {path}, create: true}}]}}]\n"
    );
    let output = run(
        &files(&root, &[]),
        &Options::flux(),
        &Allowance::unlimited(),
    )
    .unwrap();
    let text = output.resources.to_yaml();
    assert!(text.contains(&format!("{}x: z", "  ".repeat(255))) || text.contains("x: z"));

    // Objects of the maximum depth pass through everything.
    let deep = format!("{MAP}spec: {}\n", nested(255));
    let root = "resources: [a.yaml]\nnamespace: ns\nnamePrefix: p-\ncommonLabels: {x: z}\ncommonAnnotations: {x: z}\n\
                images: [{name: x, newName: z}]\nbuildMetadata: [originAnnotations, transformerAnnotations]\n\
                patches:\n- {patch: '[{\"op\": \"add\", \"path\": \"/x\", \"value\": 1}]', target: {kind: ConfigMap}}\n\
                - {patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, spec: {b: c}}'}\n";
    let output = run(
        &files(root, &[("a.yaml", &deep)]),
        &Options::flux(),
        &Allowance::unlimited(),
    )
    .unwrap();
    assert!(output.resources.to_yaml().contains("name: p-a"));
}

#[test]
fn aliases_do_not_add_depth() {
    let mut text = format!("{MAP}l:\n- &x0 {}\n", nested(200));
    for at in 1..20 {
        let inner = nested(200).replace('x', &format!("*x{}", at - 1));
        text.extend(["- &x", &at.to_string(), " ", &inner, "\n"]);
    }
    let error = run(
        &files("resources: [a.yaml]\n", &[("a.yaml", &text)]),
        &Options::flux(),
        &Allowance::unlimited(),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("exceeded max depth of 256"),
        "{error}"
    );
}

/// Inputs that amplify. Each is below 100 KB except for one file that it may use often.
fn large() -> Vec<(&'static str, Files)> {
    let mib = "x".repeat(1 << 20);
    let copied: Vec<_> = (0..24)
        .map(|at| format!("- {{op: copy, from: /data, path: /data/x{at}}}\n"))
        .collect();
    let bomb = {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for at in 1..8 {
            let ten = vec![format!("*a{}", at - 1); 10].join(", ");
            let line = format!("a{at}: &a{at} [{ten}]\n");
            text.push_str(&line);
        }
        text
    };
    let long = format!(
        "s: &s {}\nl: [{}]\n",
        "x".repeat(30_000),
        repeated("*s", ", ", 2000)
    );
    let nested_anchors = {
        let inner = repeated("x", ", ", 2000);
        let open: String = (0..200).map(|at| format!("&n{at} [")).collect();
        let uses: Vec<_> = (0..200).map(|at| format!("*n{at}")).collect();
        format!(
            "{MAP}l: {open}{inner}{}\nu: [{}]\n",
            "]".repeat(200),
            uses.join(", ")
        )
    };
    let doubled: Vec<_> = (0..30)
        .map(|_| {
            "- source: {kind: ConfigMap, name: a, fieldPath: data.a}\n  targets: [{select: {kind: ConfigMap}, fieldPaths: [data.a], \
             options: {delimiter: '!', index: 99}}]\n"
        })
        .collect();
    let generated: Vec<_> = (0..200)
        .map(|at| format!("- {{name: g{at}, files: [big.txt]}}\n"))
        .collect();
    let overlays: Files = (0..100)
        .map(|at| {
            (
                format!("o{at}/{ROOT}"),
                format!("resources: [../base]\nnameSuffix: -s{at}\n"),
            )
        })
        .collect();
    let used: Vec<_> = (0..100).map(|at| format!("o{at}")).collect();
    let objects: Vec<_> = (0..100)
        .map(|at| MAP.replace("name: a", &format!("name: a{at}")))
        .collect();
    let many = objects.join("---\n");
    let mut all = vec![
        (
            "a patch that doubles",
            files(
                "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n",
                &[("p.yaml", &copied.concat())],
            ),
        ),
        (
            "a replacement that doubles",
            files(&format!("resources: [a.yaml]\nreplacements:\n{}", doubled.concat()), &[]),
        ),
        (
            "a replacement that doubles an object",
            files(
                &format!(
                    "resources: [a.yaml]\nreplacements:\n- source: {{kind: ConfigMap, name: a, fieldPath: data}}\n  targets: [{{select: {{kind: ConfigMap}}, options: {{create: true}}, fieldPaths: [{}]}}]\n",
                    (0..4000).map(|at| format!("x{at}")).collect::<Vec<_>>().join(", ")
                ),
                &[("a.yaml", &MAP.replace('b', &"b".repeat(50_000)))],
            ),
        ),
        (
            "a variable that is used often",
            files(
                "resources: [a.yaml]\nvars: [{name: X, objref: {apiVersion: v1, kind: ConfigMap, name: a}, fieldref: {fieldPath: data.a}}]\nconfigurations: [c.yaml]\n",
                &[
                    ("c.yaml", "varReference: [{path: data/b}]\n"),
                    ("a.yaml", &MAP.replace("{a: b}", &format!("{{a: {}, b: {}}}", "y".repeat(40_000), "$(X)".repeat(5000)))),
                ],
            ),
        ),
        ("aliases of lists", files("resources: [a.yaml]\n", &[("a.yaml", &format!("{MAP}{bomb}"))])),
        ("aliases of text", files("resources: [a.yaml]\n", &[("a.yaml", &format!("{MAP}{long}"))])),
        ("anchors within anchors", files("resources: [a.yaml]\n", &[("a.yaml", &nested_anchors)])),
        ("aliases in the file itself", files(&format!("resources: [a.yaml]\n{long}"), &[])),
        (
            "aliases in a patch",
            files(
                "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n",
                &[("p.yaml", &format!("- op: add\n  path: /x\n  value: {{{}}}\n", long.trim_end().replace('\n', ", ")))],
            ),
        ),
        (
            "aliases in a configuration",
            files("resources: [a.yaml]\nconfigurations: [c.yaml]\n", &[("c.yaml", &long)]),
        ),
        (
            "aliases in an annotation",
            files(
                "resources: [a.yaml]\nbuildMetadata: [transformerAnnotations]\ncommonLabels: {x: z}\n",
                &[(
                    "a.yaml",
                    &format!(
                        "{MAP}---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\n  annotations:\n    alpha.config.kubernetes.io/transformations: |\n{}",
                        long.lines().map(|line| format!("      {line}\n")).collect::<String>()
                    ),
                )],
            ),
        ),
        (
            "many maps of one file",
            files(&format!("configMapGenerator:\n{}", generated.concat()), &[("big.txt", &mib)]),
        ),
        (
            "many secrets of one file",
            files(&format!("secretGenerator:\n{}", generated.concat()), &[("big.txt", &mib)]),
        ),
        (
            "a long label of many objects",
            files(&format!("resources: [a.yaml]\ncommonAnnotations: {{x: {mib}}}\n"), &[("a.yaml", &many)]),
        ),
        (
            "a long label in many fields",
            files(
                &format!(
                    "resources: [a.yaml]\nlabels: [{{pairs: {{x: {mib}}}, fields: [{}]}}]\n",
                    (0..200).map(|at| format!("{{path: f{at}, create: true}}")).collect::<Vec<_>>().join(", ")
                ),
                &[],
            ),
        ),
        (
            "long names with all that they were",
            files(
                "resources: [a.yaml]\ntransformers: [t.yaml]\n",
                &[(
                    "t.yaml",
                    &(0..1000)
                        .map(|at| format!("apiVersion: builtin\nkind: PrefixTransformer\nmetadata: {{name: t{at}}}\nprefix: {}\nfieldSpecs: [{{path: metadata/name}}]\n", "p".repeat(500)))
                        .collect::<Vec<_>>()
                        .join("---\n"),
                )],
            ),
        ),
    ];
    let root = format!("resources: [{}]\n", used.join(", "));
    let mut shared = files(
        &root,
        &[
            ("base/kustomization.yaml", "resources: [big.yaml]\n"),
            ("base/big.yaml", &MAP.replace("a: b", &format!("a: {mib}"))),
        ],
    );
    shared.extend(overlays);
    all.push(("a large object in many overlays", shared));
    all
}

#[test]
fn created_content_is_counted() {
    let mut wrong = Vec::new();
    for (what, files) in large() {
        let budget = Budget::new(8 << 20);
        let claim = Arc::new(budget.claim());
        let allowance = Allowance::new(claim);
        match run(&files, &Options::flux(), &allowance) {
            Err(Error::Memory { exhausted, message }) => {
                if !exhausted.is_too_large() || !message.contains("not enough memory: ") {
                    wrong.push(format!("{what}: {message}"));
                }
            }
            Err(error) => wrong.push(format!("{what}: {:.300}", error.to_string())),
            Ok(output) => wrong.push(format!(
                "{what}: {} objects, {} bytes",
                output.resources.len(),
                budget.used()
            )),
        }
        if budget.used() != 0 {
            wrong.push(format!("{what}: {} bytes are left", budget.used()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_output_stays_claimed() {
    let budget = Budget::new(32 << 20);
    let allowance = Allowance::new(Arc::new(budget.claim()));
    let files = files(
        "resources: [a.yaml]\nconfigMapGenerator: [{name: g, files: [big.txt]}]\n",
        &[("big.txt", &"x".repeat(1 << 20))],
    );
    let output = run(&files, &Options::flux(), &allowance).unwrap();
    let memory: u64 = output
        .resources
        .iter()
        .map(|resource| flux_kustomize::memory_of(resource.value()))
        .sum();
    assert!(memory > 1 << 20);
    assert_eq!(budget.used(), memory);
    drop(allowance);
    assert_eq!(budget.used(), 0);
}

/// Inputs that take long.
fn long() -> Vec<(&'static str, Files)> {
    let objects = |count: usize| {
        (0..count)
            .map(|at| {
                format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: abcdefgh{at}}}\n")
            })
            .collect::<Vec<_>>()
            .join("---\n")
    };
    let patterns: Vec<_> = (0..600)
        .map(|at| {
            format!("- {{patch: '[{{\"op\": \"add\", \"path\": \"/x\", \"value\": 1}}]', target: {{name: '(a|b|c|.)*{at}x'}}}}\n")
        })
        .collect();
    let items = |mark: &str| {
        (0..4000)
            .map(|at| format!("{{name: {mark}{at}, image: x}}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let pod = |mark: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{}]}}\n",
            items(mark)
        )
    };
    let definitions: Vec<_> = (0..40)
        .map(|at| {
            format!("\"d{at}\": {{\"Schema\": {{\"properties\": {{\"a\": {{\"$ref\": \"d{0}\"}}, \"b\": {{\"$ref\": \"d{0}\"}}, \"kind\": {{}}, \"apiVersion\": {{}}, \"metadata\": {{}}}}}}}}", at + 1)
        })
        .collect();
    let specs = |mark: &str| {
        (0..4000)
            .map(|at| format!("- {{path: {mark}/{at}}}\n"))
            .collect::<String>()
    };
    vec![
        (
            "patterns over many objects",
            files(
                &format!("resources: [a.yaml]\npatches:\n{}", patterns.concat()),
                &[("a.yaml", &objects(600))],
            ),
        ),
        (
            "a pattern with many states",
            files(
                "resources: [a.yaml]\npatches: [{patch: '[{\"op\": \"add\", \"path\": \"/x\", \"value\": 1}]', target: {name: '((a|.)?b?.){300}x'}}]\n",
                &[("a.yaml", &objects(3000))],
            ),
        ),
        (
            "long lists that merge",
            files(
                "resources: [a.yaml]\npatches: [{path: p.yaml}]\n",
                &[("a.yaml", &pod("a")), ("p.yaml", &pod("b"))],
            ),
        ),
        (
            "definitions that refer to others twice",
            files(
                "resources: [a.yaml]\ncrds: [c.json]\n",
                &[("c.json", &format!("{{{}}}", definitions.join(", ")))],
            ),
        ),
        (
            "many field specs",
            files(
                "resources: [a.yaml]\nconfigurations: [c.yaml, d.yaml]\n",
                &[
                    ("c.yaml", &format!("images:\n{}", specs("a"))),
                    ("d.yaml", &format!("images:\n{}", specs("b"))),
                ],
            ),
        ),
        (
            "a list that is taken from its front",
            files(
                "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n",
                &[
                    (
                        "a.yaml",
                        &format!("{MAP}l: [{}]\n", repeated("x", ", ", 20_000)),
                    ),
                    ("p.yaml", &"- {op: remove, path: /l/0}\n".repeat(10_000)),
                ],
            ),
        ),
    ]
}

#[test]
fn work_is_counted() {
    let mut options = Options::flux();
    options.limits.steps = 2_000_000;
    let mut wrong = Vec::new();
    for (what, files) in long() {
        match run(&files, &options, &Allowance::unlimited()) {
            Err(Error::Limit {
                what: Limited::Steps,
                ..
            }) => {}
            Err(error) => wrong.push(format!("{what}: {:.300}", error.to_string())),
            Ok(output) => wrong.push(format!("{what}: {} objects", output.resources.len())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn ordinary_work_is_far_from_the_bound() {
    let objects: Vec<_> = (0..300)
        .map(|at| MAP.replace("name: a", &format!("name: a{at}")))
        .collect();
    let patches: Vec<_> = (0..50)
        .map(|at| {
            format!("- {{patch: '[{{\"op\": \"add\", \"path\": \"/data/p{at}\", \"value\": \"1\"}}]', target: {{name: 'a.*'}}}}\n")
        })
        .collect();
    let root = format!(
        "resources: [a.yaml]\nnamePrefix: p-\nnamespace: ns\ncommonLabels: {{x: z}}\npatches:\n{}",
        patches.concat()
    );
    let files = files(&root, &[("a.yaml", &objects.join("---\n"))]);
    let mut options = Options::flux();
    options.limits.steps /= 50;
    let budget = Budget::new(32 << 20);
    let output = run(&files, &options, &Allowance::new(Arc::new(budget.claim()))).unwrap();
    assert_eq!(output.resources.len(), 300);
}

#[test]
fn a_build_that_is_cancelled_ends() {
    let allowance = Allowance::unlimited();
    allowance.cancel();
    let cancelled = run(
        &files("resources: [a.yaml]\n", &[]),
        &Options::flux(),
        &allowance,
    );
    assert!(
        matches!(cancelled, Err(Error::Cancelled { .. })),
        "{cancelled:?}"
    );
}

#[test]
fn preparing_a_build_has_the_same_limits() {
    let bomb = format!(
        "{MAP}s: &s {}\nl: [{}]\n",
        "x".repeat(30_000),
        repeated("*s", ", ", 2000)
    );
    let named = |name: &str, text: &str| vec![(name.to_owned(), text.to_owned())];
    for files in [
        named("a.yaml", &bomb),
        named(ROOT, &bomb.replace(MAP, "resources: []\n")),
    ] {
        let budget = Budget::new(16 << 20);
        let allowance = Allowance::new(Arc::new(budget.claim()));
        let prepared = flux::prepare_within(
            &tree(&files),
            &TreePath::root(),
            &flux::Overlay::default(),
            &allowance,
        );
        assert!(
            matches!(
                prepared,
                Err(flux::GenerateError::Bound(Error::Memory { .. }))
            ),
            "{prepared:?}"
        );
        assert_eq!(budget.used(), 0);
    }
    // Folders may be nested as deep as the length of a path permits.
    let path = format!("{}/a.yaml", repeated("d", "/", 2000));
    let prepared = flux::prepare(
        &tree(&named(&path, MAP)),
        &TreePath::root(),
        &flux::Overlay::default(),
    )
    .unwrap();
    assert_eq!(prepared.tree.len(), 2002);
}
