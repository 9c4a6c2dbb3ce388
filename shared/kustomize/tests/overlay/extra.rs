//! Rare features of overlays, and their errors: replacements with options, vars, configurations, schemas, generators
//! that merge, patches of every form.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{IMAGES, KINDS, LABELS, NAMES, Random, SCALARS, VALUES, api_version, indented, map};

/// Field paths of the existing kinds, including some that do not exist.
const PATHS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.labels",
    "metadata.labels.app",
    "metadata.annotations.[example.com/x]",
    "metadata.annotations.tier",
    "spec",
    "spec.replicas",
    "spec.list",
    "spec.list.0",
    "spec.list.5",
    "spec.list.[=1]",
    "spec.value",
    "spec.value.deep",
    "spec.containers.*.image",
    "spec.template.spec.containers.0.image",
    "spec.template.spec.containers.*.image",
    "spec.template.spec.containers.[name=c0].image",
    "spec.template.spec.containers.[name=c].args.0",
    "spec.template.spec.containers.[name=new].image",
    "spec.template.spec.containers.[name=c0].env.[name=A].value",
    "spec.ports.0.port",
    "spec.ports.[name=http].port",
    "data.k",
    "data.text",
    "data.new",
    "data.json.a.b",
    "data.yaml.a",
    "type",
    "subjects.0.name",
    "rules.0.resourceNames",
];

/// Field paths that can be created in most objects.
const MADE: &[&str] = &[
    "metadata.annotations.[example.com/x]",
    "metadata.labels.app",
    "spec.made.deep",
    "spec.made.list.0",
    "spec.template.spec.containers.[name=new].image",
    "data.new",
];

fn selector(random: &mut Random, objects: &[(String, String)]) -> String {
    let (kind, name) = &objects[random.below(objects.len())];
    let mut parts = Vec::new();
    if random.chance(70) {
        parts.push(format!(
            "kind: {}",
            random.pick(&[kind, kind, "Conf.*", ".*"])
        ));
    }
    if random.chance(40) {
        parts.push(format!("name: {}", random.pick(&[name, name, ".*", "w.b"])));
    }
    if random.chance(10) {
        parts.push(format!(
            "namespace: {}",
            random.pick(&["ns1", "default", "prod", "n.*"])
        ));
    }
    if random.chance(15) {
        let label = random.pick(&["app", "tier=x", "app!=x", "\"tier in (x, y)\"", "\"!app\""]);
        parts.push(format!("labelSelector: {label}"));
    }
    if random.chance(8) {
        parts.push(format!(
            "annotationSelector: {}",
            random.pick(&["app", "tier=x"])
        ));
    }
    if random.chance(10) {
        parts.push(format!(
            "group: {}",
            random.pick(&["apps", "example.com", ".*"])
        ));
    }
    format!("{{{}}}", parts.join(", "))
}

fn options(random: &mut Random) -> String {
    let mut parts = Vec::new();
    if random.chance(50) {
        parts.push(format!(
            "create: {}",
            random.pick(&["true", "true", "false"])
        ));
    }
    if random.chance(35) {
        parts.push(format!(
            "delimiter: \"{}\"",
            random.pick(&["/", ":", "-", ".", ""])
        ));
    }
    if random.chance(35) {
        parts.push(format!("index: {}", random.pick(&["0", "1", "-1", "5"])));
    }
    if parts.is_empty() {
        return String::new();
    }
    format!(", options: {{{}}}", parts.join(", "))
}

fn replacement(random: &mut Random, objects: &[(String, String)]) -> String {
    let mut out = String::new();
    if random.chance(15) {
        let _ = writeln!(
            out,
            "- sourceValue: {}",
            random.pick(&["text", "\"1\"", "a/b/c"])
        );
    } else {
        let (kind, name) = &objects[random.below(objects.len())];
        let path = match random.below(10) {
            0..=4 => String::new(),
            5..=6 => ", fieldPath: metadata.labels.app".to_owned(),
            _ => format!(", fieldPath: \"{}\"", random.pick(PATHS)),
        };
        let _ = writeln!(
            out,
            "- source: {{kind: {kind}, name: {name}{path}{}}}",
            options(random)
        );
    }
    out.push_str("  targets:\n");
    for _ in 0..=random.below(2) {
        let select = selector(random, objects);
        let reject = if random.chance(20) {
            format!(", reject: [{}]", selector(random, objects))
        } else {
            String::new()
        };
        let (path, options) = if random.chance(50) {
            (random.pick(MADE), ", options: {create: true}".to_owned())
        } else {
            (random.pick(PATHS), options(random))
        };
        let _ = writeln!(
            out,
            "  - {{select: {select}{reject}, fieldPaths: [\"{path}\"]{options}}}"
        );
    }
    out
}

fn head(kind: &str, name: &str) -> String {
    format!(
        "apiVersion: {}\nkind: {kind}\nmetadata:\n  name: {name}\n",
        api_version(kind)
    )
}

/// A strategic patch with directives in unusual places.
fn strategic(random: &mut Random, objects: &[(String, String)]) -> String {
    let (kind, name) = &objects[random.below(objects.len())];
    let head = head(kind, name);
    let directive = if random.chance(8) {
        "other"
    } else {
        random.pick(&["delete", "replace", "merge"])
    };
    match random.below(9) {
        0 => format!(
            "{head}spec:\n  $patch: {directive}\n  value: {}\n",
            random.pick(SCALARS)
        ),
        1 => format!(
            "{head}spec:\n  template:\n    spec:\n      containers:\n      - $patch: {directive}\n      - name: c0\n        image: {}\n",
            random.pick(IMAGES)
        ),
        2 => format!("{head}metadata: {{name: {name}, labels: {{$patch: {directive}, z: y9}}}}\n"),
        3 => format!(
            "{head}spec:\n  template:\n    spec:\n      containers:\n      - name: c0\n        ports:\n        - containerPort: \
             53\n          protocol: {}\n        - containerPort: 53\n        env: null\n      volumes:\n      - name: v\n        \
             $patch: {directive}\n",
            random.pick(&["TCP", "UDP"])
        ),
        4 => format!(
            "{head}subjects:\n- kind: User\n  name: {}\n",
            random.pick(NAMES)
        ),
        5 => format!(
            "{head}spec:\n  ports:\n  - port: {}\n    protocol: UDP\n",
            random.pick(&["80", "81"])
        ),
        6 => format!(
            "{head}data: {}\n",
            random.pick(&["null", "{k: null}", "text", "{}", "[]"])
        ),
        7 => format!(
            "{head}  finalizers: [{}, b]\n  ownerReferences: [{{uid: u, name: x}}]\n",
            random.pick(VALUES)
        ),
        _ => format!(
            "{head}spec: {}\n",
            random.pick(&["null", "{}", "[1]", "text"])
        ),
    }
}

fn operation(random: &mut Random) -> String {
    if random.chance(60) {
        let operation = random.pick(&[
            "{op: add, path: /spec, value: {list: [1], value: x}}",
            "{op: add, path: /metadata/labels, value: {x: z}}",
            "{op: add, path: /metadata/annotations, value: {app: \"1\"}}",
            "{op: replace, path: /metadata/name, value: renamed}",
            "{op: add, path: /data, value: {k: v, n: 1}}",
            "{op: copy, from: /metadata/name, path: /copied}",
            "{op: move, from: /metadata/name, path: /metadata/name}",
            "{op: test, path: /none, value: null}",
            "{op: add, path: /metadata/namespace, value: moved}",
            "{op: replace, path: /kind, value: Other}",
        ]);
        return format!("- {operation}\n");
    }
    let path = random.pick(&[
        "/metadata/labels/app",
        "/metadata/labels",
        "/metadata/annotations",
        "/metadata/annotations/example.com~1team",
        "/metadata/namespace",
        "/spec",
        "/spec/list/0",
        "/spec/list/-",
        "/spec/list/-1",
        "/spec/list/9",
        "/spec/template/spec/containers/0/env/-",
        "/spec/ports/0",
        "/data/k",
        "/data/none/deep",
        "/rules/0/resourceNames/0",
    ]);
    match random.below(6) {
        0 => format!("- {{op: remove, path: \"{path}\"}}\n"),
        1 => format!("- {{op: move, from: \"{path}\", path: /spec/moved}}\n"),
        2 => format!("- {{op: copy, from: \"{path}\", path: /data/copied}}\n"),
        3 => format!(
            "- {{op: test, path: \"{path}\", value: {}}}\n",
            random.pick(SCALARS)
        ),
        4 => format!(
            "- {{op: replace, path: \"{path}\", value: {}}}\n",
            random.pick(SCALARS)
        ),
        _ => format!(
            "- {{op: add, path: \"{path}\", value: {}}}\n",
            random.pick(&["x", "{a: 1}", "[b]", "1", "null"])
        ),
    }
}

fn configuration(random: &mut Random) -> String {
    let mut out = String::new();
    for field in [
        "commonLabels",
        "commonAnnotations",
        "labels",
        "namePrefix",
        "images",
        "replicas",
        "varReference",
    ] {
        if random.chance(20) {
            let _ = writeln!(
                out,
                "{field}:\n- {{path: \"{}\", kind: {}, create: {}}}",
                random.pick(&[
                    "spec/extra",
                    "spec/value",
                    "spec/list[]/x",
                    "metadata/labels",
                    "spec/template/metadata/annotations",
                    "spec/template/spec/containers[]/image",
                    "data",
                    "spec/replicas"
                ]),
                random.pick(KINDS),
                random.pick(&["true", "false"])
            );
        }
    }
    if random.chance(60) {
        let _ = writeln!(
            out,
            "nameReference:\n- {{kind: {}, version: v1, fieldSpecs: [{{path: \"{}\", kind: {}}}]}}",
            random.pick(KINDS),
            random.pick(&["spec/value", "spec/list", "data/k", "metadata/labels/app"]),
            random.pick(KINDS)
        );
    }
    if out.is_empty() {
        out.push_str("images: []\n");
    }
    out
}

const SCHEMA: &str = r##"{"definitions": {"v1.Custom": {"properties": {"spec": {"properties": {"containers": {"type": "array",
"items": {"$ref": "#/definitions/v1.C"}, "x-kubernetes-patch-merge-key": "image", "x-kubernetes-patch-strategy": "merge"},
"list": {"type": "array", "items": {"type": "string"}, "x-kubernetes-patch-strategy": "merge"}}}},
"x-kubernetes-group-version-kind": [{"group": "example.com", "kind": "Custom", "version": "v1"}]},
"v1.C": {"properties": {"image": {"type": "string"}}}},
"paths": {"/apis/example.com/v1/customs/{name}": {"get": {"x-kubernetes-action": "get",
"x-kubernetes-group-version-kind": {"group": "example.com", "kind": "Custom", "version": "v1"}}}}}"##;

const CRD: &str = r#"{"example.com/v1.Custom": {"Schema": {"properties": {"kind": {"type": "string"}, "apiVersion": {"type": "string"},
"metadata": {"type": "object"}, "spec": {"$ref": "spec"}}}}, "spec": {"Schema": {"properties": {
"value": {"x-kubernetes-object-ref-api-version": "v1", "x-kubernetes-object-ref-kind": "ConfigMap"},
"extra": {"x-kubernetes-annotation": ""}, "empty": {"x-kubernetes-label-selector": ""}}}}}"#;

fn generator(random: &mut Random, dir: &str, kind: &str) -> String {
    let mut out = format!("{kind}:\n");
    for at in 0..=random.below(2) {
        let own = format!("{}-{at}", dir.trim_start_matches('/'));
        let (name, behavior) = match random.below(10) {
            0 => (
                random.pick(&["gen", "tok", "cfg"]),
                random.pick(&["create", "merge", "replace"]),
            ),
            1..=3 if kind == "configMapGenerator" && dir != "/base" => {
                ("gen", random.pick(&["merge", "replace"]))
            }
            _ => (own.as_str(), random.pick(&["create", "\"\""])),
        };
        let _ = writeln!(
            out,
            "- name: {name}\n  behavior: {behavior}\n  literals: [\"{}={}\"]",
            random.pick(&["a", "b", "k"]),
            random.pick(&["1", "x y", "'q'", "a=b", "é", ""])
        );
        if random.chance(20) {
            let _ = writeln!(out, "  namespace: {}", random.pick(&["ns1", "default"]));
        }
        if random.chance(30) {
            let _ = writeln!(
                out,
                "  options: {{labels: {}, immutable: {}, disableNameSuffixHash: {}}}",
                map(random, VALUES),
                random.pick(&["true", "false"]),
                random.pick(&["true", "false"])
            );
        }
        if random.chance(15) {
            let _ = writeln!(out, "  type: {}", random.pick(&["Opaque", "example.com/t"]));
        }
        if random.chance(20) {
            out.push_str("  files: [data.bin, k2=data.txt]\n");
        }
        if random.chance(20) {
            out.push_str("  envs: [data.env]\n");
        }
    }
    // Only Secrets have a type.
    if kind == "configMapGenerator" {
        out = out
            .lines()
            .filter(|line| !line.starts_with("  type:"))
            .fold(String::new(), |mut all, line| {
                let _ = writeln!(all, "{line}");
                all
            });
    }
    out
}

fn transformer(random: &mut Random) -> String {
    let at = random.below(1000);
    match random.below(5) {
        0 => format!(
            "{{apiVersion: builtin, kind: LabelTransformer, metadata: {{name: l{at}}}, labels: {}, fieldSpecs: [{{path: \
             metadata/labels, create: true}}]}}",
            map(random, &["x", "\"1\""])
        ),
        1 => format!(
            "{{apiVersion: builtin, kind: NamespaceTransformer, metadata: {{name: n{at}, namespace: tns}}, unsetOnly: {}, \
             setRoleBindingSubjects: {}}}",
            random.pick(&["true", "false"]),
            random.pick(&["defaultOnly", "allServiceAccounts", "none"])
        ),
        2 => format!(
            "{{apiVersion: builtin, kind: PrefixSuffixTransformer, metadata: {{name: p{at}}}, prefix: t-, fieldSpecs: [{{path: \
             metadata/name, kind: {}}}]}}",
            random.pick(KINDS)
        ),
        3 => format!(
            "{{apiVersion: builtin, kind: ValueAddTransformer, metadata: {{name: v{at}}}, value: {}, targets: [{{selector: {{kind: \
             {}}}, fieldPath: \"{}\", filePathPosition: {}}}]}}",
            random.pick(&["x", "\"1\""]),
            random.pick(KINDS),
            random.pick(&["metadata/annotations/v", "spec/value", "data/k"]),
            random.pick(&["0", "1", "3"])
        ),
        _ => format!(
            "{{apiVersion: builtin, kind: ImageTagTransformer, metadata: {{name: i{at}}}, imageTag: {{name: {}, newTag: t}}}}",
            random.pick(&["nginx", "redis"])
        ),
    }
}

/// Further fields, and the files that they refer to, below `dir`.
pub(super) fn fields(
    random: &mut Random,
    dir: &str,
    objects: &[(String, String)],
    files: &mut BTreeMap<String, String>,
) -> String {
    let mut out = String::new();
    let mut file = |name: &str, text: String| {
        files.insert(format!("{dir}/{name}"), text);
    };
    if random.chance(30) {
        out.push_str("replacements:\n");
        for _ in 0..=random.below(2) {
            out.push_str(&replacement(random, objects));
        }
        if random.chance(15) {
            out.push_str("- path: replacement.yaml\n");
            file("replacement.yaml", replacement(random, objects));
        }
    }
    if random.chance(20) {
        out.push_str("patchesStrategicMerge:\n- smp.yaml\n");
        let mut text = strategic(random, objects);
        if random.chance(40) {
            let _ = write!(text, "---\n{}", strategic(random, objects));
        }
        file("smp.yaml", text);
    }
    if random.chance(20) {
        let (kind, name) = &objects[random.below(objects.len())];
        let version = api_version(kind);
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let _ = writeln!(
            out,
            "patchesJson6902:\n- target: {{group: \"{group}\", version: {version}, kind: {kind}, name: {name}}}\n  path: json.yaml"
        );
        let text: String = (0..=random.below(2)).map(|_| operation(random)).collect();
        file("json.yaml", text);
    }
    if random.chance(25) {
        out.push_str("patches:\n");
        for at in 0..=random.below(2) {
            if random.chance(50) {
                let text = strategic(random, objects);
                let _ = write!(out, "- patch: |\n{}", indented(&text, 4));
                if random.chance(60) {
                    let _ = writeln!(out, "  target: {}", selector(random, objects));
                }
            } else {
                let name = format!("patch{at}.yaml");
                let text: String = (0..=random.below(2)).map(|_| operation(random)).collect();
                let _ = writeln!(
                    out,
                    "- path: {name}\n  target: {}",
                    selector(random, objects)
                );
                file(&name, text);
            }
        }
    }
    if random.chance(20) {
        out.push_str("configurations: [config.yaml]\n");
        file("config.yaml", configuration(random));
    }
    if random.chance(7) {
        out.push_str("openapi: {path: schema.json}\n");
        file("schema.json", SCHEMA.to_owned());
    }
    if random.chance(7) {
        out.push_str("crds: [crd.json]\n");
        file("crd.json", CRD.to_owned());
    }
    let mut generates = false;
    for kind in ["configMapGenerator", "secretGenerator"] {
        if random.chance(20) {
            out.push_str(&generator(random, dir, kind));
            generates = true;
        }
    }
    if generates {
        file("data.bin", "\u{0}binary".to_owned());
        file("data.txt", "text\nof lines\n".to_owned());
        file(
            "data.env",
            format!("{}=1\nE=\"q\"\n# c\n", random.pick(LABELS)),
        );
    }
    if random.chance(15) {
        let _ = writeln!(
            out,
            "vars:\n- {{name: W, objref: {{apiVersion: v1, kind: ConfigMap, name: {}}}, fieldref: {{fieldPath: \"{}\"}}}}",
            random.pick(NAMES),
            random.pick(&["metadata.name", "data.k", "data", "data.n"])
        );
    }
    if random.chance(8) {
        let _ = writeln!(
            out,
            "sortOptions: {{order: legacy, legacySortOptions: {{orderFirst: [{}], orderLast: [{}]}}}}",
            random.pick(KINDS),
            random.pick(KINDS)
        );
    }
    if random.chance(12) {
        out.push_str("transformers:\n");
        for _ in 0..=random.below(2) {
            let _ = writeln!(out, "- |-\n  {}", transformer(random));
        }
    }
    out
}
