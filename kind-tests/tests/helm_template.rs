//! `helm template` compared with our equivalent (`shared/helm/examples/template.rs`), for the same charts and options.

use std::fs;
use std::path::Path;
use std::process::Command;

use kind_tests::helm_cli::{self, Helm};
use kind_tests::{Result, ensure};

#[path = "../../shared/helm/examples/template.rs"]
#[allow(dead_code)] // its `main`
mod template;

const CHARTS: [(&str, &str); 39] = [
    (
        "web/Chart.yaml",
        "apiVersion: v2\nname: web\nversion: 1.2.3\nkubeVersion: '>=1.20-0'\ndependencies:\n- {name: db, version: 1.x, repository: '', condition: db.enabled, alias: store}\n- {name: lib, version: '*', repository: ''}\n",
    ),
    (
        "web/values.yaml",
        "name: none\nlist: [1, 2.5]\nstore: {size: 1}\n",
    ),
    (
        "web/values.schema.json",
        "{\"properties\": {\"name\": {\"type\": \"string\", \"maxLength\": 20}}}",
    ),
    (
        "web/crds/b.yaml",
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: b}\n",
    ),
    (
        "web/crds/a.yaml",
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\n",
    ),
    (
        "web/templates/_helpers.tpl",
        "{{ define \"web.name\" }}{{ .Release.Name }}-{{ .Values.name }}{{ end }}",
    ),
    // HE-MAN-008: the Namespace comes first; HE-OBJ-008, HE-OBJ-009: `.Capabilities`
    (
        "web/templates/all.yaml",
        "kind: Service\nmetadata: {name: {{ include \"web.name\" . }}, namespace: {{ .Release.Namespace }}}\nlist: {{ toJson .Values.list }}\nkube: {{ .Capabilities.KubeVersion }} {{ .Capabilities.KubeVersion.Minor }}\nhas: {{ .Capabilities.APIVersions.Has \"example.com/v1/Widget\" }} {{ .Capabilities.APIVersions.Has \"apps/v1/Deployment\" }}\nsecret: {{ .Values.secret | default \"none\" | quote }}\nhelm: {{ .Capabilities.HelmVersion.Version }}\n---\nkind: Namespace\nmetadata: {name: {{ .Release.Namespace }}}\n",
    ),
    (
        "web/templates/hook.yaml",
        "kind: Job\nmetadata: {name: t, annotations: {helm.sh/hook: test}}\n---\nkind: Pod\nmetadata: {name: p, annotations: {helm.sh/hook: \"pre-install\", helm.sh/hook-weight: \"-1\"}}\n",
    ),
    // HE-MAN-001
    ("web/templates/NOTES.txt", "never shown\n"),
    ("web/files/a.txt", "a\n"),
    ("web/.helmignore", "files/\n"),
    (
        "web/charts/db/Chart.yaml",
        "apiVersion: v2\nname: db\nversion: 1.0.0\n",
    ),
    ("web/charts/db/values.yaml", "size: 5\nclass: fast\n"),
    (
        "web/charts/db/templates/db.yaml",
        "kind: StatefulSet\nmetadata: {name: {{ .Chart.Name }}}\nsize: {{ .Values.size }}\nclass: {{ .Values.class }}\nup: {{ .Release.IsUpgrade }}\n",
    ),
    (
        "web/charts/lib/Chart.yaml",
        "apiVersion: v2\nname: lib\nversion: 0.1.0\ntype: library\n",
    ),
    // HE-VAL-016
    ("web/charts/lib/templates/never.yaml", "kind: Never\n"),
    (
        "broken/Chart.yaml",
        "apiVersion: v2\nname: broken\nversion: 0.1.0\n",
    ),
    (
        "broken/templates/a.yaml",
        "kind: ConfigMap\na: [{{ .Values.open }}\n",
    ),
    (
        "nested/Chart.yaml",
        "apiVersion: v2\nname: nested\nversion: 0.1.0\n",
    ),
    (
        "nested/templates/a.yaml",
        "kind: ConfigMap\nmetadata: {name: {{ .Values.deep.er | required \"deep.er is missing\" }}}\n",
    ),
    (
        "old/Chart.yaml",
        "apiVersion: v1\nname: old\nversion: 0.1.0\nkubeVersion: < 1.10\n",
    ),
    (
        "needs/Chart.yaml",
        "apiVersion: v2\nname: needs\nversion: 0.1.0\ndependencies: [{name: gone, version: 1.x, repository: ''}]\n",
    ),
    (
        "nulls/Chart.yaml",
        "apiVersion: v2\nname: nulls\nversion: 0.1.0\ndependencies: [{name: sub, version: 1.x, repository: '', condition: sub.enabled}]\n",
    ),
    (
        "nulls/values.yaml",
        "sub: {enabled: true, uid: null}\nfoobar: null\na: null\nm: {b: null, c: 1}\nrbac: {create: false}\n",
    ),
    (
        "nulls/templates/all.yaml",
        "kind: ConfigMap\nall: {{ omit .Values \"sub\" | toJson }}\nhas: {{ hasKey .Values \"foobar\" }} {{ hasKey .Values \"a\" }} {{ hasKey .Values.m \"b\" }} {{ hasKey .Values.m \"d\" }}\nrbac: {{ .Values.rbac.create }}\n",
    ),
    (
        "nulls/charts/sub/Chart.yaml",
        "apiVersion: v2\nname: sub\nversion: 1.0.0\n",
    ),
    (
        "nulls/charts/sub/values.yaml",
        "uid: 472\ntop: null\nkeys: {format: null, password: null}\nglobal: {password: shared}\n",
    ),
    (
        "nulls/charts/sub/templates/all.yaml",
        "kind: Secret\nuid: '{{ .Values.uid }}'\nprinted: '{{ printf \"%s\" .Values.keys.password }}'\nhas: {{ hasKey .Values.keys \"password\" }} {{ hasKey .Values \"top\" }}\nfirst: {{ pluck \"password\" .Values.keys .Values.global | first | toJson }}\nall: {{ .Values | toJson }}\n",
    ),
    (
        "docs/Chart.yaml",
        "apiVersion: v2\nname: docs\nversion: 0.1.0\n",
    ),
    (
        "docs/templates/_helpers.tpl",
        "{{ define \"docs.rbac\" -}}\nkind: Role\nmetadata: {name: included}\n---\nkind: RoleBinding\nmetadata: {name: included}\n{{- end }}\n",
    ),
    // FR-H-005: the separator and the document are one line
    (
        "docs/templates/glued.yaml",
        "---\n{{- include \"docs.rbac\" . }}\n",
    ),
    (
        "docs/templates/blank.yaml",
        "\n---\nkind: Service\nmetadata: {name: after-a-blank-line}\n",
    ),
    // FR-H-007: the last lines of block scalars, before another document and at the end of a file
    (
        "docs/templates/one.yaml",
        "kind: ConfigMap\nmetadata: {name: one}\ndata:\n  cfg: |\n    text\n---\nkind: ConfigMap\nmetadata: {name: one-kept}\ndata:\n  cfg: |+\n    text\n---\nkind: ConfigMap\nmetadata: {name: one-cut}\ndata:\n  cfg: |-\n    text\n",
    ),
    (
        "docs/templates/two.yaml",
        "kind: ConfigMap\nmetadata: {name: two}\ndata:\n  cfg: |\n    text\n\n---\nkind: ConfigMap\nmetadata: {name: two-kept}\ndata:\n  cfg: |+\n    text\n\n---\nkind: ConfigMap\nmetadata: {name: two-cut}\ndata:\n  cfg: |-\n    text\n\n",
    ),
    (
        "docs/templates/three.yaml",
        "kind: ConfigMap\nmetadata: {name: three-cut}\ndata:\n  cfg: |-\n    text\n\n\n---\nkind: ConfigMap\nmetadata: {name: three}\ndata:\n  cfg: |\n    text\n\n\n---\nkind: ConfigMap\nmetadata: {name: three-kept}\ndata:\n  cfg: |+\n    text\n\n\n",
    ),
    (
        "urn/Chart.yaml",
        "apiVersion: v2\nname: urn\nversion: 0.1.0\n",
    ),
    ("urn/values.yaml", "cond: 5\n"),
    // FR-H-008: there is nothing to check such a value against
    (
        "urn/values.schema.json",
        "{\"$id\": \"urn:example:schemas:v1/urn\", \"properties\": {\"cond\": {\"$ref\": \"urn:example:schemas:v1/cond\"}, \"n\": {\"type\": \"integer\"}}}",
    ),
    (
        "urn/templates/a.yaml",
        "kind: ConfigMap\na: {{ .Values.cond }}\n",
    ),
];

/// Arguments after `template`, in a folder with the charts and `values.yaml`, `more.yaml`.
const RUNS: [&[&str]; 39] = [
    // HE-MAN-012
    &["rel", "web"],
    &["rel", "web", "--namespace", "apps"],
    &["rel", "web", "-n", "apps", "--include-crds"],
    &["rel", "web", "-f", "values.yaml"],
    &["rel", "web", "-f", "values.yaml", "-f", "more.yaml"],
    &["rel", "web", "-f", "more.yaml,values.yaml"],
    &[
        "rel",
        "web",
        "--values",
        "values.yaml",
        "--set",
        "name=x,list[1]=b",
        "--set",
        "store.size=7",
    ],
    &[
        "rel",
        "web",
        "--set-string",
        "secret=5",
        "--set-json",
        "list={\"a\":[1]}",
        "--set-literal",
        "name=a=b",
    ],
    &["rel", "web", "--set", "store.size=null"],
    &["rel", "web", "--set", "db.enabled=false"],
    &["rel", "web", "--set-file", "secret=more.yaml"],
    &["rel", "web", "--kube-version", "1.33"],
    // HE-OBJ-016
    &["rel", "web", "--kube-version", "v1.33.4-gke.1"],
    &["rel", "web", "--kube-version", "1.19"],
    &["rel", "web", "--kube-version", "none"],
    &["rel", "web", "--api-versions", "example.com/v1/Widget"],
    &[
        "rel",
        "web",
        "-a",
        "x/v1,example.com/v1/Widget",
        "--api-versions",
        "y/v1",
    ],
    &["rel", "web", "--is-upgrade"],
    &["rel", "web", "--set", "name=5"],
    &["rel", "web", "-f", "none.yaml"],
    &["rel", "web", "--set", "a[=x"],
    &["rel", "./none"],
    // HE-ACT-002
    &["Rel", "web"],
    &["rel", "broken"],
    &["rel", "nested"],
    // HE-OBJ-016
    &["rel", "old"],
    &["rel", "needs"],
    // FR-H-001: the result depends on whether the user has a table of the subchart
    &["rel", "nulls"],
    &["rel", "nulls", "--set", "sub.unrelated=1"],
    &["rel", "nulls", "--set", "sub.uid=7"],
    &["rel", "nulls", "--set", "sub.uid=null"],
    // FR-H-002
    &["rel", "nulls", "--set", "sub.keys.format=a"],
    &["rel", "nulls", "--set", "sub.keys.other=a"],
    &["rel", "nulls", "--set", "sub.keys.password=null"],
    // FR-H-003
    &["rel", "nulls", "-f", "nulls.yaml"],
    // FR-H-011: a key with a dot is one key
    &["rel", "nulls", "-f", "dotted.yaml"],
    &["rel", "docs"],
    &["rel", "urn"],
    &["rel", "urn", "--set", "n=x"],
];

/// The errors of helm: the lines after the usage, without log lines.
fn error_lines(stderr: &str) -> String {
    let lines = stderr
        .lines()
        .filter(|line| !line.starts_with("level=") && !line.starts_with("time="));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn helm_template_output_matches_helm() -> Result {
    let folder = std::env::temp_dir().join(format!("flux-helm-template-{}", std::process::id()));
    for (path, text) in CHARTS {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        fs::write(path, text)?;
    }
    fs::write(
        folder.join("values.yaml"),
        "name: file\nlist: [x]\nstore: {class: slow}\n",
    )?;
    fs::write(folder.join("more.yaml"), "name: more\nsecret: \"s\"\n")?;
    fs::write(
        folder.join("nulls.yaml"),
        "a: null\nm: {b: null, d: null}\nsub: {top: null, new: null}\n",
    )?;
    fs::write(folder.join("dotted.yaml"), "rbac.create: true\n")?;
    std::env::set_current_dir(&folder)?;
    let helm = helm_cli::program(Helm::V4)?;
    for run in RUNS {
        let theirs = Command::new(&helm)
            .arg("template")
            .args(run)
            .env("KUBECONFIG", folder.join("no-cluster"))
            .env("HELM_CACHE_HOME", folder.join("cache"))
            .env("HELM_CONFIG_HOME", folder.join("config"))
            .env("HELM_DATA_HOME", folder.join("data"))
            .output()?;
        let ours = template::output(&[&["template"], run].concat());
        let (stdout, stderr) = (
            String::from_utf8(theirs.stdout)?,
            String::from_utf8(theirs.stderr)?,
        );
        match ours {
            Ok(text) => {
                ensure!(theirs.status.success(), "{run:?}: helm fails:\n{stderr}");
                assert_eq!(text, stdout, "{run:?}");
            }
            Err(text) => {
                ensure!(
                    !theirs.status.success(),
                    "{run:?}: ours fails: {text}\n{stdout}"
                );
                assert_eq!(format!("Error: {text}"), error_lines(&stderr), "{run:?}");
            }
        }
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}
