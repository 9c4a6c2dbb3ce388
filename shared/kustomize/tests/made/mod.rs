//! Trees of files that amplify depth and size: paths with hundreds of parts, patches that copy and move, values that
//! are put into themselves, nested anchors. Any bytes encode such a tree.

use std::fmt::Write as _;

use flux_tree::{Tree, TreePath};

/// Reads choices from bytes; after the end, all are the first option.
struct Choices<'b>(&'b [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*first)
    }

    fn of<'o>(&mut self, options: &[&'o str]) -> &'o str {
        options[self.byte() % options.len()]
    }

    /// Mostly small, sometimes in the hundreds.
    fn length(&mut self) -> usize {
        match self.byte() {
            byte @ 0..200 => byte % 5,
            byte @ 200..240 => byte % 32 * 8,
            byte => byte * 4,
        }
    }

    /// A path whose parts go through mappings and lists.
    fn path(&mut self, separator: &str) -> String {
        let (head, part) = (
            self.of(&["data", "spec", "a", "metadata/labels", "l"]),
            self.of(&["a", "b", "0", "-", "[a=b]", "*", "a[]", "[=x]"]),
        );
        let mut path = head.replace('/', separator);
        for _ in 0..self.length() {
            path += separator;
            path += part;
        }
        if self.byte().is_multiple_of(4) {
            path += separator;
            path += self.of(&["a", "b", "0", "x"]);
        }
        path
    }

    /// A value in flow style.
    fn value(&mut self) -> String {
        let levels = self.length().min(250);
        let (open, close) = if self.byte().is_multiple_of(2) {
            ("{a: ", "}")
        } else {
            ("[", "]")
        };
        let inner = self.of(&[
            "x",
            "1",
            "{a: b, b: [x, y]}",
            "[{a: b}, {a: c}]",
            "null",
            "'{a: {a: b}}'",
            "\"- a\\n- b\"",
        ]);
        format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
    }

    fn object(&mut self, name: &str, out: &mut String) {
        let (api_version, kind) = match self.byte() % 4 {
            0 => ("apps/v1", "Deployment"),
            1 => ("v1", "Secret"),
            _ => ("v1", "ConfigMap"),
        };
        let _ = write!(
            out,
            "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: {name}, labels: {{a: b}}}}\n"
        );
        for field in ["data", "spec", "l"] {
            if !self.byte().is_multiple_of(3) {
                let value = self.value();
                let _ = writeln!(out, "{field}: {value}");
            }
        }
        if self.byte().is_multiple_of(4) {
            let _ = writeln!(out, "n0: &n0 {}", self.value());
            for at in 1..self.length().min(40) {
                let levels = self.length().min(120);
                let (open, close) = ("[".repeat(levels), "]".repeat(levels));
                let _ = writeln!(out, "n{at}: &n{at} {open}*n{}, *n{}{close}", at - 1, at - 1);
            }
        }
    }

    fn operations(&mut self) -> String {
        let mut out = String::new();
        for _ in 0..=(self.byte() % 12) {
            let op = self.of(&["add", "copy", "move", "replace", "remove", "test"]);
            let (path, from) = (self.path("/"), self.path("/"));
            let value = self.value();
            let _ = writeln!(
                out,
                "- {{op: {op}, path: '/{path}', from: '/{from}', value: {value}}}"
            );
        }
        out
    }

    fn replacement(&mut self) -> String {
        let source = self.path(".");
        let mut paths = Vec::new();
        for _ in 0..=(self.byte() % 4) {
            paths.push(format!("'{}'", self.path(".")));
        }
        let options = self.of(&[
            "create: true",
            "create: false",
            "delimiter: x",
            "delimiter: b, index: -1",
            "create: true, delimiter: a, index: 9",
        ]);
        let kind = self.of(&["ConfigMap", "Deployment", "Secret"]);
        format!(
            "- source: {{name: o0, fieldPath: '{source}'}}\n  targets: [{{select: {{kind: {kind}}}, options: {{{options}}}, fieldPaths: [{}]}}]\n",
            paths.join(", ")
        )
    }

    fn spec(&mut self) -> String {
        let create = self.of(&["true", "false"]);
        format!("{{path: '{}', create: {create}}}", self.path("/"))
    }
}

/// The tree that the bytes encode.
pub(crate) fn tree(bytes: &[u8]) -> Tree {
    let mut choices = Choices(bytes);
    let mut root = "resources: [o.yaml]\nconfigurations: [c.yaml]\n".to_owned();
    let mut objects = String::new();
    for at in 0..=(choices.byte() % 3) {
        if at > 0 {
            objects += "---\n";
        }
        choices.object(&format!("o{at}"), &mut objects);
    }
    let mut patches = String::new();
    let mut replacements = String::new();
    let mut labels = String::new();
    let mut files = Vec::new();
    for at in 0..choices.byte() % 6 {
        match choices.byte() % 6 {
            0 => {
                let fields = [choices.spec(), choices.spec()].join(", ");
                let _ = writeln!(labels, "- {{pairs: {{x: z}}, fields: [{fields}]}}");
            }
            1 | 2 => {
                let _ = writeln!(patches, "- {{path: p{at}.yaml, target: {{name: 'o.*'}}}}");
                files.push((format!("p{at}.yaml"), choices.operations()));
            }
            3 => {
                let _ = writeln!(patches, "- {{path: p{at}.yaml, target: {{name: 'o.*'}}}}");
                let mut patch = String::new();
                choices.object("o0", &mut patch);
                files.push((format!("p{at}.yaml"), patch));
            }
            _ => replacements += &choices.replacement(),
        }
    }
    for (field, text) in [
        ("patches", patches),
        ("replacements", replacements),
        ("labels", labels),
    ] {
        if !text.is_empty() {
            let _ = write!(root, "{field}:\n{text}");
        }
    }
    if choices.byte() % 2 == 0 {
        root += "vars: [{name: X, objref: {apiVersion: v1, kind: ConfigMap, name: o0}, fieldref: {fieldPath: data.a}}]\n";
    }
    let fields = [
        ("namespace", "namespace: ns\n"),
        ("namePrefix", "namePrefix: p-\n"),
        ("commonAnnotations", "commonAnnotations: {x: z}\n"),
        ("images", "images: [{name: x, newName: z}]\n"),
        ("replicas", "replicas: [{name: o0, count: 2}]\n"),
        ("varReference", ""),
    ];
    let mut config = String::new();
    for (field, used) in fields {
        if choices.byte() % 3 == 0 {
            root += used;
            let _ = writeln!(config, "{field}: [{}]", choices.spec());
        }
    }
    files.extend([
        ("kustomization.yaml".to_owned(), root),
        ("o.yaml".to_owned(), objects),
        ("c.yaml".to_owned(), config),
    ]);
    let mut tree = Tree::new();
    for (name, text) in files {
        if let Ok(path) = TreePath::new(&name) {
            let _ = tree.insert_file(path, text, false);
        }
    }
    tree
}
