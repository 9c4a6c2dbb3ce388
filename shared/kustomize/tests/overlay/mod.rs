//! Generates random overlays from the kinds and fields of real ones and values that cause errors.

mod extra;

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A random number generator (splitmix64): a seed always gives the same overlay.
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }
}

const NAMES: &[&str] = &["web", "api", "db", "cfg", "tok"];
const LABELS: &[&str] = &["app", "tier", "example.com/team", "version"];
/// Values as written in YAML, quoted if necessary.
const VALUES: &[&str] = &[
    "x",
    "\"1\"",
    "\"yes\"",
    "'null'",
    "\"0x1F\"",
    "\"1e3\"",
    "\"a: b\"",
    "\"\"",
    "two-words",
    "\"2001-01-01\"",
    "v1.2",
];
const SCALARS: &[&str] = &[
    "1",
    "true",
    "1.5",
    "0644",
    "yes",
    "~",
    "text",
    "\"5\"",
    "2001-01-01",
    "1_000",
    "1e3",
    "''",
];
const IMAGES: &[&str] = &[
    "nginx",
    "nginx:1.2",
    "reg.example:5000/nginx:1",
    "redis@sha256:abc",
    "busybox:{tag}",
];
const KINDS: &[&str] = &[
    "Deployment",
    "StatefulSet",
    "Service",
    "ConfigMap",
    "Secret",
    "ServiceAccount",
    "RoleBinding",
    "ClusterRoleBinding",
    "Ingress",
    "CronJob",
    "HorizontalPodAutoscaler",
    "Custom",
    "Namespace",
    "ClusterRole",
];

fn api_version(kind: &str) -> &'static str {
    match kind {
        "Deployment" | "StatefulSet" => "apps/v1",
        "RoleBinding" | "ClusterRoleBinding" | "ClusterRole" => "rbac.authorization.k8s.io/v1",
        "Ingress" => "networking.k8s.io/v1",
        "CronJob" => "batch/v1",
        "HorizontalPodAutoscaler" => "autoscaling/v2",
        "Custom" => "example.com/v1",
        _ => "v1",
    }
}

fn pod(random: &mut Random, indent: usize) -> String {
    let mut out = String::new();
    for at in 0..=random.below(2) {
        let _ = writeln!(out, "- name: c{at}\n  image: {}", random.pick(IMAGES));
        if random.chance(40) {
            let _ = writeln!(out, "  args: [a, {}]", random.pick(VALUES));
        }
        if random.chance(50) {
            let _ = writeln!(
                out,
                "  env:\n  - name: A\n    value: {}\n  - name: B\n    valueFrom: {{configMapKeyRef: {{name: {}, key: k}}}}",
                random.pick(VALUES),
                random.pick(NAMES)
            );
        }
        if random.chance(30) {
            let _ = writeln!(
                out,
                "  envFrom:\n  - secretRef: {{name: {}}}",
                random.pick(NAMES)
            );
        }
        if random.chance(40) {
            let _ = writeln!(
                out,
                "  ports:\n  - containerPort: 80\n  - containerPort: 53\n    protocol: UDP"
            );
        }
    }
    let mut text = String::from("containers:\n");
    text.push_str(&out);
    if random.chance(40) {
        let _ = writeln!(
            text,
            "volumes:\n- name: v\n  configMap: {{name: {}}}\n- name: s\n  secret: {{secretName: {}}}",
            random.pick(NAMES),
            random.pick(NAMES)
        );
    }
    if random.chance(30) {
        let _ = writeln!(text, "serviceAccountName: {}", random.pick(NAMES));
    }
    indented(&text, indent)
}

fn indented(text: &str, by: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let _ = writeln!(out, "{}{line}", " ".repeat(by));
    }
    out
}

fn map(random: &mut Random, values: &[&str]) -> String {
    let mut entries = BTreeMap::new();
    for _ in 0..=random.below(2) {
        entries.insert(random.pick(LABELS), random.pick(values));
    }
    let entries: Vec<_> = entries
        .iter()
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    format!("{{{}}}", entries.join(", "))
}

fn body(random: &mut Random, kind: &str) -> String {
    match kind {
        "Deployment" | "StatefulSet" => {
            let labels = map(random, VALUES);
            format!(
                "spec:\n  replicas: {}\n  selector:\n    matchLabels: {labels}\n  template:\n    metadata:\n      labels: \
                 {labels}\n    spec:\n{}",
                random.pick(&["1", "\"2\"", "3"]),
                pod(random, 6)
            )
        }
        "CronJob" => format!(
            "spec:\n  jobTemplate:\n    spec:\n      template:\n        spec:\n{}",
            pod(random, 10)
        ),
        "Service" => format!(
            "spec:\n  selector: {}\n  ports:\n  - port: 80\n    name: http\n",
            map(random, VALUES)
        ),
        "ConfigMap" => format!(
            "data:\n  k: {}\n  text: |\n    line\n      more\n  n: {}\n",
            random.pick(VALUES),
            random.pick(SCALARS)
        ),
        "Secret" => "type: Opaque\ndata: {k: YWJj}\n".into(),
        "RoleBinding" | "ClusterRoleBinding" => format!(
            "roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: ClusterRole\n  name: {}\nsubjects:\n- kind: \
             ServiceAccount\n  name: {}\n  namespace: {}\n- kind: ServiceAccount\n  name: default\n",
            random.pick(NAMES),
            random.pick(NAMES),
            random.pick(&["default", "ns1", "other"])
        ),
        "ClusterRole" => format!(
            "rules:\n- resources: [configmaps]\n  resourceNames: [{}, x]\n",
            random.pick(NAMES)
        ),
        "Ingress" => format!(
            "spec:\n  tls:\n  - secretName: {0}\n  rules:\n  - http:\n      paths:\n      - backend:\n          service: \
             {{name: {0}}}\n",
            random.pick(NAMES)
        ),
        "HorizontalPodAutoscaler" => format!(
            "spec:\n  scaleTargetRef:\n    apiVersion: apps/v1\n    kind: Deployment\n    name: {}\n",
            random.pick(NAMES)
        ),
        "Custom" => format!(
            "spec:\n  value: {}\n  list: [1, {}]\n  empty:\n  none: null\n  containers:\n  - image: {}\n  octal: 0755\n",
            random.pick(SCALARS),
            random.pick(SCALARS),
            random.pick(IMAGES)
        ),
        _ => String::new(),
    }
}

fn object(random: &mut Random, kind: &str, name: &str) -> String {
    let mut out = format!(
        "apiVersion: {}\nkind: {kind}\nmetadata:\n  name: {name}\n",
        api_version(kind)
    );
    if random.chance(25) {
        let _ = writeln!(
            out,
            "  namespace: {}",
            random.pick(&["ns1", "other", "default"])
        );
    }
    if random.chance(40) {
        let _ = writeln!(out, "  labels: {}", map(random, VALUES));
    }
    if random.chance(40) {
        let _ = writeln!(out, "  annotations: {}", map(random, SCALARS));
    }
    out.push_str(&body(random, kind));
    out
}

/// A patch of one object, strategic or JSON.
fn patch(random: &mut Random, objects: &[(String, String)]) -> String {
    let (kind, name) = objects[random.below(objects.len())].clone();
    let head = format!(
        "apiVersion: {}\nkind: {kind}\nmetadata:\n  name: {name}\n",
        api_version(&kind)
    );
    let target = random.chance(75);
    let text = match random.below(8) {
        0 => format!("{head}  labels: {}\n", map(random, VALUES)),
        1 => format!(
            "{head}  annotations: {{a: null, app: null, b: {}}}\n",
            random.pick(VALUES)
        ),
        2 => format!(
            "{head}spec:\n  template:\n    spec:\n      containers:\n      - name: c0\n        image: {}\n        env:\n        \
             - name: A\n          value: {}\n        - name: N\n          value: n\n",
            random.pick(IMAGES),
            random.pick(SCALARS)
        ),
        3 => format!(
            "{head}spec:\n  replicas: {}\n  template:\n    spec:\n      containers:\n      - name: c1\n        $patch: {}\n",
            random.pick(SCALARS),
            random.pick(&["delete", "replace", "merge"])
        ),
        4 => format!(
            "{head}$patch: {}\n",
            random.pick(&["delete", "replace", "merge"])
        ),
        5 => format!(
            "{head}data:\n  k: {}\n  new: {}\n",
            random.pick(SCALARS),
            random.pick(VALUES)
        ),
        6 => format!(
            "{head}spec:\n  value: {}\n  list: [{}]\n  empty: {{a: null, b: {{}}}}\n  template:\n    spec:\n      containers:\n      \
             - name: c0\n        ports:\n        - containerPort: {}\n          name: p\n",
            random.pick(SCALARS),
            random.pick(SCALARS),
            random.pick(&["80", "53", "90"])
        ),
        _ => {
            let value = random.pick(SCALARS);
            let operation = random.pick(&[
                "add", "add", "replace", "replace", "replace", "remove", "test",
            ]);
            let path = random.pick(&[
                "/metadata/labels/app",
                "/metadata/annotations/app",
                "/spec/replicas",
                "/data/k",
                "/spec/value",
                "/spec/template/spec/containers/0/image",
            ]);
            return format!(
                "- target: {{kind: {kind}, name: {name}}}\n  patch: |\n    - op: {operation}\n      path: {path}\n      value: \
                 {value}\n"
            );
        }
    };
    let mut entry = format!("- patch: |\n{}", indented(&text, 4));
    if target {
        let _ = writeln!(
            entry,
            "  target: {{kind: {}, name: {}}}",
            random.pick(&[kind.as_str(), ".*"]),
            random.pick(&[name.as_str(), ".*", "w.b"])
        );
    }
    if random.chance(15) {
        entry.push_str("  options: {allowNameChange: true, allowKindChange: true}\n");
    }
    entry
}

/// The fields of a kustomization, except its resources.
fn fields(random: &mut Random, objects: &[(String, String)], generates: bool) -> String {
    let mut out = String::new();
    let mut add =
        |random: &mut Random, percent: usize, text: &mut dyn FnMut(&mut Random) -> String| {
            if random.chance(percent) {
                out.push_str(&text(random));
            }
        };
    add(random, 30, &mut |random| {
        format!("namespace: {}\n", random.pick(&["ns1", "prod", "\"123\""]))
    });
    add(random, 35, &mut |random| {
        format!("namePrefix: {}\n", random.pick(&["a-", "b-", "\"1\""]))
    });
    add(random, 25, &mut |random| {
        format!("nameSuffix: {}\n", random.pick(&["-x", "\"-2\""]))
    });
    add(random, 20, &mut |random| {
        format!("commonLabels: {}\n", map(random, VALUES))
    });
    add(random, 25, &mut |random| {
        format!(
            "labels:\n- pairs: {}\n  includeSelectors: {}\n  includeTemplates: {}\n",
            map(random, VALUES),
            random.pick(&["true", "false"]),
            random.pick(&["true", "false"])
        )
    });
    add(random, 20, &mut |random| {
        format!("commonAnnotations: {}\n", map(random, VALUES))
    });
    add(random, 30, &mut |random| {
        format!(
            "images:\n- name: {}\n  {}\n",
            random.pick(&[
                "nginx",
                "redis",
                "reg.example:5000/nginx",
                "busybox",
                "ng.*"
            ]),
            random.pick(&[
                "newTag: v9",
                "newName: other",
                "digest: sha256:def",
                "tagSuffix: -alpine",
                "newTag: \"1.0\""
            ])
        )
    });
    add(random, 15, &mut |random| {
        let scaled = objects
            .iter()
            .find(|(kind, _)| matches!(kind.as_str(), "Deployment" | "StatefulSet"));
        match scaled {
            Some((_, name)) if random.chance(90) => {
                format!("replicas:\n- name: {name}\n  count: 7\n")
            }
            _ => String::new(),
        }
    });
    add(random, 60, &mut |random| {
        let mut text = String::from("patches:\n");
        for _ in 0..=random.below(2) {
            text.push_str(&patch(random, objects));
        }
        text
    });
    add(random, 25, &mut |random| {
        let (kind, name) = &objects[random.below(objects.len())];
        format!(
            "replacements:\n- source: {{kind: {kind}, name: {name}{}}}\n  targets:\n  - select: {{kind: {}}}\n    fieldPaths: \
             [\"{}\"]\n    options: {{create: {}}}\n",
            random.pick(&[
                "",
                ", fieldPath: metadata.labels.app",
                ", fieldPath: spec.replicas",
                ", fieldPath: data.k"
            ]),
            random.pick(KINDS),
            random.pick(&[
                "metadata.labels.app",
                "metadata.annotations.[example.com/x]",
                "spec.template.spec.containers.*.image",
                "spec.template.spec.containers.[name=c0].image",
                "data.k",
                "spec.ports.0.name",
            ]),
            random.pick(&["true", "false"])
        )
    });
    if generates {
        add(random, 50, &mut |random| {
            format!(
                "configMapGenerator:\n- name: gen\n  behavior: {}\n  literals: [a=1, \"b={}\"]\n",
                random.pick(&[
                    "merge", "merge", "merge", "merge", "replace", "replace", "replace", "replace",
                    "create"
                ]),
                random.pick(&["x", "<&>", "y z"])
            )
        });
        add(random, 15, &mut |_| {
            "generatorOptions: {disableNameSuffixHash: true, labels: {g: h}}\n".into()
        });
    }
    add(random, 10, &mut |random| {
        let (kind, name) = &objects[random.below(objects.len())];
        format!(
            "vars:\n- name: V\n  objref: {{apiVersion: {}, kind: {kind}, name: {name}}}\n  fieldref: {{fieldPath: {}}}\n",
            api_version(kind),
            random.pick(&["metadata.name", "metadata.namespace", "spec.replicas"])
        )
    });
    add(random, 10, &mut |random| {
        format!(
            "sortOptions: {{order: {}}}\n",
            random.pick(&["legacy", "fifo"])
        )
    });
    add(random, 10, &mut |random| {
        format!(
            "buildMetadata: [{}]\n",
            random.pick(&[
                "originAnnotations",
                "transformerAnnotations",
                "originAnnotations, transformerAnnotations"
            ])
        )
    });
    out
}

/// An overlay over a base, possibly with a component.
pub(crate) fn files(seed: u64) -> BTreeMap<String, String> {
    let mut random = Random(seed);
    let random = &mut random;
    let mut files = BTreeMap::new();
    let mut objects = Vec::new();
    let mut documents = Vec::new();
    for _ in 0..2 + random.below(4) {
        let kind = random.pick(KINDS).to_owned();
        let name = random.pick(NAMES).to_owned();
        if objects.contains(&(kind.clone(), name.clone())) {
            continue;
        }
        documents.push(object(random, &kind, &name));
        objects.push((kind, name));
    }
    files.insert("/base/all.yaml".into(), documents.join("---\n"));
    let mut base = String::from("resources: [all.yaml]\n");
    base.push_str("configMapGenerator:\n- name: gen\n  literals: [a=0]\n");
    base.push_str(&fields(random, &objects, false));
    if random.chance(20) {
        base.push_str(&extra::fields(random, "/base", &objects, &mut files));
    }
    files.insert("/base/kustomization.yaml".into(), base);
    let mut over = String::from("resources: [../base]\n");
    if random.chance(25) {
        over.push_str("components: [../comp]\n");
        let mut component = format!(
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n{}",
            fields(random, &objects, true)
        );
        if random.chance(30) {
            component.push_str(&extra::fields(random, "/comp", &objects, &mut files));
        }
        files.insert("/comp/kustomization.yaml".into(), component);
    }
    over.push_str(&fields(random, &objects, true));
    if random.chance(50) {
        over.push_str(&extra::fields(random, "/over", &objects, &mut files));
    }
    files.insert("/over/kustomization.yaml".into(), over);
    files
}
