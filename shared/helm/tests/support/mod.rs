//! Random charts and values for the differential tests.

// Each test uses only some of this.
#![allow(dead_code, unreachable_pub)]

use std::fmt::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

/// A small pseudo-random generator, since tests must be repeatable.
pub struct Random(pub u64);

impl Random {
    pub fn new(offset: u64) -> Self {
        Self(
            oracle::seed()
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add(offset)
                | 1,
        )
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// A value in the flow style of YAML.
    pub fn value(&mut self, depth: usize) -> String {
        const SCALARS: [&str; 16] = [
            "1",
            "0",
            "-3",
            "2.5",
            "1e6",
            "12345678901",
            "true",
            "false",
            "null",
            "\"\"",
            "text",
            "\"8080\"",
            "\"a: b\"",
            "\"two\\nlines\\n\"",
            "\"é…😀\"",
            "'yes'",
        ];
        match self.below(if depth == 0 { 1 } else { 4 }) {
            0 | 1 => self.pick(&SCALARS).to_owned(),
            2 => {
                let items: Vec<_> = (0..self.below(3)).map(|_| self.value(depth - 1)).collect();
                format!("[{}]", items.join(", "))
            }
            _ => self.table(depth - 1),
        }
    }

    /// A table with few different keys, so that tables overlap.
    pub fn table(&mut self, depth: usize) -> String {
        let mut out = String::from("{");
        for key in ["a", "b", "c", "enabled", "x.y"] {
            if self.one_in(3) {
                let _ = write!(out, "\"{key}\": {}, ", self.value(depth));
            }
        }
        out.push('}');
        out
    }

    /// A values file; keys named as `subcharts` are tables more often.
    pub fn values(&mut self, subcharts: &[&str]) -> String {
        let mut out = String::new();
        for key in ["a", "b", "c"] {
            if self.one_in(2) {
                let _ = writeln!(out, "{key}: {}", self.value(3));
            }
        }
        for key in ["global", "tags", "exports"] {
            if self.one_in(2) {
                let value = match key {
                    "tags" => format!("{{front: {}, back: {}}}", self.truth(), self.truth()),
                    "exports" => format!("{{data: {}, more: {}}}", self.table(2), self.table(2)),
                    _ => format!(
                        "{{a: {}, b: {}, c: {}}}",
                        self.table(3),
                        self.table(2),
                        self.value(1)
                    ),
                };
                let _ = writeln!(out, "{key}: {value}");
            }
        }
        for subchart in subcharts {
            if self.one_in(2) {
                let mut table = self.table(3);
                if self.one_in(3) {
                    table = format!(
                        "{{enabled: {}, global: {}, a: {}}}",
                        self.truth(),
                        self.table(3),
                        self.value(2)
                    );
                }
                if self.one_in(30) {
                    self.pick(&["null", "5", "text"]).clone_into(&mut table);
                }
                let _ = writeln!(out, "{subchart}: {table}");
            }
        }
        out
    }

    fn truth(&mut self) -> &'static str {
        self.pick(&["true", "false", "true", "false", "null", "text"])
    }

    /// A chart's files below `folder`, including subcharts.
    pub fn chart(
        &mut self,
        folder: &str,
        name: &str,
        depth: usize,
        files: &mut Vec<(String, String)>,
    ) {
        let all = ["one", "two", "three"];
        let subcharts = if depth == 0 {
            &[][..]
        } else {
            &all[..self.below(4)]
        };
        let mut chart = format!(
            "apiVersion: v2\nname: {name}\nversion: 1.{}.0\nappVersion: 1.10\n",
            self.below(3)
        );
        if !subcharts.is_empty() && !self.one_in(5) {
            chart.push_str("dependencies:\n");
            for (i, subchart) in subcharts.iter().enumerate() {
                if self.one_in(6) {
                    continue;
                }
                let version = self.pick(&["*", "1.x", ">=1.0.0", "1.x", "^1.1", "2.x"]);
                let _ = writeln!(
                    chart,
                    "- name: {subchart}\n  version: \"{version}\"\n  repository: https://example.com"
                );
                if self.one_in(3) {
                    let condition = self.pick(&[
                        "one.enabled",
                        "two.enabled,three.enabled",
                        "a.enabled",
                        "x",
                        "global.a.enabled",
                    ]);
                    let _ = writeln!(chart, "  condition: {condition}");
                }
                if self.one_in(3) {
                    chart.push_str(self.pick(&[
                        "  tags: [front]\n",
                        "  tags: [back]\n",
                        "  tags: [front, back]\n",
                    ]));
                }
                if self.one_in(4) {
                    let _ = writeln!(chart, "  alias: other{i}");
                }
                if self.one_in(2) {
                    chart.push_str(self.pick(&[
                        "  import-values: [data]\n",
                        "  import-values: [data, more]\n",
                        "  import-values: [{child: a, parent: b}]\n",
                        "  import-values: [{child: exports.data, parent: .}, {child: global, parent: a.c}, 5]\n",
                    ]));
                }
            }
        }
        files.push((format!("{folder}Chart.yaml"), chart));
        let named: Vec<&str> = subcharts
            .iter()
            .copied()
            .chain(["other0", "other1"])
            .collect();
        if !self.one_in(8) {
            files.push((format!("{folder}values.yaml"), self.values(&named)));
        }
        if self.one_in(4) {
            files.push((format!("{folder}values.schema.json"), self.schema()));
        }
        // If several subcharts define a template, Helm uses a random one.
        if folder.is_empty() && self.one_in(3) {
            files.push((
                format!("{folder}crds/{name}.yaml"),
                "kind: CustomResourceDefinition\n".to_owned(),
            ));
        }
        files.push((format!("{folder}config/a.txt"), "one\ntwo\n".to_owned()));
        let kind = self.pick(&["ConfigMap", "Service", "Zebra", "Namespace", "Pod"]);
        files.push((
            format!("{folder}templates/a.yaml"),
            format!(
                "kind: {kind}\nvalues:\n{{{{ toYaml .Values | indent 2 }}}}\njson: {{{{ toJson .Values | quote }}}}\nchart: {{{{ toJson .Chart | quote }}}}\nname: {{{{ .Template.Name }}}}\nname2: {{{{ include \"shared\" . | quote }}}}\nsub: {{{{ range $k, $v := .Subcharts }}}}{{{{ $k }}}} {{{{ $v.Chart.Name }}}} {{{{ end }}}}\nfiles: {{{{ .Files.AsConfig | quote }}}}\nlines: {{{{ .Files.Lines \"config/a.txt\" }}}}\n{{{{- with .Values.global }}}}{{{{ $_ := set . \"seen\" $.Chart.Name }}}}{{{{ end }}}}\n"
            ),
        ));
        files.push((
            format!("{folder}templates/_shared.tpl"),
            format!("{{{{ define \"shared\" }}}}{name} {{{{ .Chart.Version }}}} {{{{ tpl (toString .Values.a) . }}}}{{{{ end }}}}"),
        ));
        if self.one_in(2) {
            files.push((format!("{folder}templates/hook.yaml"), self.hook()));
        }
        if self.one_in(3) {
            files.push((
                format!("{folder}templates/NOTES.txt"),
                format!("notes of {name} {{{{ .Release.Name }}}}"),
            ));
        }
        for subchart in subcharts {
            self.chart(
                &format!("{folder}charts/{subchart}/"),
                subchart,
                depth - 1,
                files,
            );
        }
    }

    fn hook(&mut self) -> String {
        let event = self.pick(&[
            "pre-install",
            "post-upgrade, test",
            "Pre-Delete",
            "crd-install",
            "test-success",
        ]);
        let weight = self.pick(&["5", "-3", "x", "0"]);
        let policy = self.pick(&["hook-succeeded", "before-hook-creation,Hook-Failed", ""]);
        format!(
            "kind: Job\nmetadata:\n  name: h\n  annotations:\n    helm.sh/hook: {event}\n    helm.sh/hook-weight: \"{weight}\"\n    helm.sh/hook-delete-policy: \"{policy}\"\n---\nkind: Secret\n--- \nkind: Role\nmetadata: {{annotations: {{n: 5}}}}\n"
        )
    }

    /// A schema for the keys that values have. Messages name at most one finding per object, as Go's order is random.
    pub fn schema(&mut self) -> String {
        const PARTS: [&str; 16] = [
            r#""type": "object""#,
            r#""required": ["a", "zz"]"#,
            r#""minProperties": 4"#,
            r#""properties": {"a": {"type": ["string", "integer", "null"]}}"#,
            r#""properties": {"b": {"minimum": 5, "maxLength": 2}}"#,
            r#""properties": {"c": {"enum": ["x", 1, null]}}"#,
            r##""properties": {"a": {"$ref": "#/$defs/t"}}"##,
            r#""properties": {"a": {"items": {"type": "string"}}}"#,
            r#""anyOf": [{"required": ["q"]}, {"properties": {"a": {"const": 1}}, "required": ["a"]}]"#,
            r#""oneOf": [{"required": ["a"]}, {"required": ["b"]}]"#,
            r#""allOf": [{"required": ["q"]}, {"minProperties": 1}]"#,
            r#""not": {"required": ["a"]}"#,
            r#""if": {"required": ["a"]}, "then": {"required": ["q"]}"#,
            r#""properties": {"b": {"pattern": "^t", "type": "string"}}"#,
            r#""dependentRequired": {"a": ["q", "r"]}"#,
            r#""properties": {"c": false}"#,
        ];
        let part = self.pick(&PARTS);
        let draft = self.pick(&[
            "",
            "",
            r#""$schema": "http://json-schema.org/draft-07/schema#", "#,
        ]);
        format!(
            "{{{draft}\"$defs\": {{\"t\": {{\"minLength\": 3, \"minimum\": 2, \"required\": [\"a\"]}}}}, {part}}}"
        )
    }
}

/// Packs files into a chart archive.
pub fn pack(files: &[(String, String)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        archive
            .append_data(&mut header, format!("chart/{path}"), content.as_bytes())
            .unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}
