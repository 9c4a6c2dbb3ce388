//! Indexes read as Helm reads them: the same stored text, or the same error.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{self, Cursor, Write};
use std::rc::Rc;

use flux_budget::Budget;
use flux_chart::index::convert;
use oracle::{Answer, Oracle};
use serde_json::json;

#[derive(Clone, Default)]
struct Output(Rc<RefCell<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is stored, or the error as Helm reports it.
fn ours(text: &str) -> Result<String, String> {
    let output = Output::default();
    let open = || {
        output.0.borrow_mut().clear();
        Ok(output.clone())
    };
    convert(Cursor::new(text), open, &Budget::unlimited())
        .map(|_| String::from_utf8(output.0.take()).unwrap())
        .map_err(|error| format!("error loading index.yaml: {error}"))
}

/// Texts that a table holds better than chance.
const CASES: &[&str] = &[
    "",
    "null",
    "a",
    "[]",
    "{}",
    "apiVersion: v1",
    "apiVersion: v1\nentries:\n",
    "apiVersion: v1\nentries: {}\n",
    "apiVersion: v1\nentries: []\n",
    "apiVersion: v1\nentries:\n  a: {}\n",
    "apiVersion: v1\nentries:\n  a: [b]\n",
    "apiVersion: v1\nentries:\n  a: [null]\n",
    "apiVersion: v1\nentries:\n  a:\n  - {}\n",
    "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n  a:\n  - name: a\n    version: 2.0.0\n",
    "apiVersion: v1\nentries:\n  a:\n  - name: a\n    name: b\n",
    "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    other: 1\n",
    "apiVersion: v1\nother: 1\nentries:\n  a:\n  - name: a\n    third: 1\n",
    "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    maintainers: [{name: x, phone: 1}]\n",
    "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    maintainers: [null]\n",
    "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    dependencies: [{name: x, version: 1.0.0, repository: y}, {name: x}]\n",
    "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    dependencies: [{name: x, alias: \"x y\"}]\n",
    "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    created: 2020-01-01\n",
    "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: v1\n    appVersion: v1.10\n    created: 2020-01-01T00:00:00.120+02:00\n    removed: true\n    urls: []\n    checksum: c\n    engine: e\n    tillerVersion: t\n    url: u\n    digest: d\n",
    "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    created: 5\n",
    "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    removed: \"true\"\n",
    "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    urls: u\n",
    "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    urls: [1, true, null, 1.50]\n",
    "apiVersion: v1\nentries:\n  a:\n  - NAME: a\n    Version: 1.0.0\n    DIGEST: d\n",
    "apiVersion: v1\nentries:\n  a:\n  - name: a/b\n    version: 1.0.0\n  - name: ..\n    version: 1.0.0\n  - name: a\n    version: 1.0.0\n    type: other\n  - name: a\n    version: v1.0\n    type: library\n",
    "apiVersion: v1\nentries:\n  a:\n  - &x {name: a, version: 1.0.0}\n  - {<<: *x, version: 2.0.0}\n",
    "apiVersion: v1\ngenerated: never\n",
    "apiVersion: v1\nserverInfo: {b: 1, a: [1.5, true, null, \"<\"]}\npublicKeys: [k, 2]\nannotations: {x: 1, y: \"&\"}\n",
    "apiVersion: v1\n---\nx: y\n",
    "apiVersion: v1\nentries:\n\ta: b\n",
    "apiVersion: [v1]\n",
    "{\"apiVersion\": \"v1\", \"other\": 1, \"entries\": {\"b\": null, \"a\": [{\"name\": \"a\", \"version\": \"1.0.0\", \"x\": {}}, null]}}",
    "{\"apiVersion\": \"v1\", \"entries\": {\"a\": [{\"name\": \"a\", \"version\": \"1.0.0\"}], \"a\": [{\"name\": \"a\", \"version\": \"2.0.0\"}]}}",
    "{\"apiVersion\": \"v1\", \"entries\": {\"a\": [{\"name\": \"a\", \"version\": 1}]}}",
    "{\"apiVersion\": 1}",
    "{\"apiVersion\": \"v1\", \"generated\": \"x\"}",
    "{\"apiVersion\": \"v1\", \"entries\": {\"a\": [],}}",
    "{\"apiVersion\": \"v1\"} x",
    "\u{feff}apiVersion: v1\n",
];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap_or_default()
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    /// An index as tools write it, with what people do to it.
    fn index(&mut self) -> String {
        let mut text = "apiVersion: v1\n".to_owned();
        let indent = self.of(&["  ", "  ", " ", "    "]);
        text += self.of(&[
            "entries:\n",
            "entries:\n",
            "entries: # all\n",
            "# x\nentries:\n",
        ]);
        for chart in 0..self.below(4) {
            let quote = self.of(&["", "", "\"", "'"]);
            let _ = writeln!(text, "{indent}{quote}chart-{chart}{quote}:");
            for _ in 0..=self.below(4) {
                self.version(&mut text, indent, chart);
            }
        }
        text += self.of(&[
            "",
            "generated: 2020-01-01T00:00:00Z\n",
            "annotations:\n  a: b\n",
            "# end\n",
        ]);
        text
    }

    fn version(&mut self, text: &mut String, indent: &str, chart: usize) {
        const FIELDS: &[&str] = &[
            "description: |\n  one\n  two <&>",
            "description: \"a\n\n  b\"",
            "description: plain\n  folded",
            "digest: abc",
            "created: \"2020-01-01T00:00:00.5Z\"",
            "created: 2020-01-01T00:00:00+01:00",
            "appVersion: \"1.0\"",
            "appVersion: v1",
            "keywords:\n- a\n- b",
            "keywords: []",
            "home: https://x/?a&b",
            "annotations:\n  a: |\n    - x",
            "deprecated: true",
            "maintainers:\n- name: m\n  email: e",
            "dependencies:\n- name: d\n  version: 1.x.x\n  repository: r\n  tags: [t]",
            "urls:\n- https://x/a.tgz",
            "urls: [a, b]",
            "type: application",
            "kubeVersion: '>=1.20'",
            "icon: i",
            "apiVersion: v2",
            "sources:\n- s",
            "unknown: x",
            "removed: true",
        ];
        let name = format!("name: chart-{chart}");
        let version = self.of(&[
            "1.0.0",
            "1.0.0",
            "1.2.0",
            "1.10.0",
            "2.0.0-rc.1",
            "v3.0.0",
            "1.0.0+b",
            "1.0.0+a",
            "bad",
            "01.0.0",
            "1",
        ]);
        let mut lines = vec![name, format!("version: {version}")];
        for _ in 0..self.below(5) {
            let at = if self.below(60) == 0 {
                22
            } else {
                self.below(22)
            };
            lines.push(FIELDS[at].to_owned());
        }
        if self.below(8) > 0 {
            lines.dedup_by_key(|line| line.split(':').next().unwrap_or_default().to_owned());
        }
        let mut mark = "- ";
        for line in lines.iter().flat_map(|line| line.lines()) {
            let _ = writeln!(text, "{indent}{mark}{line}");
            mark = "  ";
        }
    }
}

#[test]
fn indexes_are_stored_as_helm_would() {
    let Some(mut go) = Oracle::start("helm-index") else {
        return;
    };
    let mut random = Random(oracle::seed() | 1);
    let made = (0..oracle::cases(400)).map(|_| random.index());
    let cases: Vec<String> = CASES
        .iter()
        .map(|text| (*text).to_owned())
        .chain(made)
        .collect();
    let questions: Vec<_> = cases
        .iter()
        .map(|text| json!({"mode": "load", "text": text}))
        .collect();
    let (mut stored, mut differences) = (0, Vec::new());
    for (text, answer) in cases.iter().zip(go.ask_all(&questions)) {
        let theirs = match answer {
            Answer::Output(stored) => Ok(stored.as_str().unwrap_or_default().to_owned()),
            Answer::Error(error) => Err(error),
            Answer::Panic(panic) => Err(format!("panic: {panic}")),
        };
        stored += usize::from(theirs.is_ok());
        let ours = ours(text);
        if ours != theirs {
            differences.push(format!(
                "{text}\n--- ours\n{ours:?}\n--- Helm's\n{theirs:?}\n"
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    println!("{stored} of {} indexes are stored", cases.len());
}
