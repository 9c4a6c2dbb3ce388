//! `helm template` compared with our equivalent (`shared/helm/examples/template.rs`), for the same charts and options.

use std::fs;
use std::path::Path;
use std::process::Command;

use kind_tests::helm_cli::{self, Helm};
use kind_tests::{Result, ensure};

#[path = "../../shared/helm/examples/template.rs"]
#[allow(dead_code)] // its `main`
mod template;

const CHARTS: [(&str, &str); 22] = [
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
];

/// Arguments after `template`, in a folder with the charts and `values.yaml`, `more.yaml`.
const RUNS: [&[&str]; 27] = [
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
