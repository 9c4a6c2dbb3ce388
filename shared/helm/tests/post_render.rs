//! Compares the input of a post-renderer and the use of its output with Helm, both with the same post-renderer.

mod support;

use std::sync::{Arc, Mutex};

use flux_errors::chain;
use flux_helm::{
    Chart, File, PostRenderStrategy, PostRenderer, RenderOptions, Values, load_values, render,
};
use oracle::{Answer, Oracle};
use serde_json::{Value, json};
use support::Random;

const STRATEGIES: [&str; 3] = ["combined", "separate", "nohooks"];

/// Documents as in real charts, and unusual ones.
const DOCUMENTS: [&str; 44] = [
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n",
    "# above\napiVersion: v1 # behind\nkind: Secret\nmetadata:\n    name:   b\n    labels: {x: 'y', z: \"1\"}\n# below\n",
    "kind: Job\nmetadata:\n  name: h\n  annotations:\n    helm.sh/hook: pre-install\n",
    "kind: Job\nmetadata: {name: i, annotations: {helm.sh/hook: 'post-install', \"helm.sh/hook-weight\": \"3\"}}\n",
    "kind: Service\nmetadata:\n  name: s\n  annotations: {}\nspec:\n  ports:\n    - port: 80\n    - port: 81\n",
    "kind: Service\nmetadata:\n  name: s\n  annotations:\nspec: {}\n",
    "kind: Pod\nmetadata: {}\n",
    "kind: Pod\nmetadata:\n",
    "kind: Pod\n",
    "metadata: null\na: 1\n",
    "metadata: text\na: 1\n",
    "metadata: [a]\na: 1\n",
    "metadata: {annotations: text}\n",
    "metadata: {annotations: [a]}\n",
    "metadata: {annotations: {postrenderer.helm.sh/postrender-filename: mine.yaml}}\nkind: A\n",
    "metadata: {annotations: {config.kubernetes.io/index: '7', config.kubernetes.io/path: x.yaml}}\nkind: A\n",
    "metadata: {annotations: {internal.config.kubernetes.io/path: x.yaml, b: c}}\nkind: A\n",
    "metadata:\n  annotations:\n    internal.config.kubernetes.io/id: '3'\n    config.k8s.io/id: '4'\nkind: A\n",
    "apiVersion: v1\nkind: List\nitems:\n- kind: A\n  metadata: {name: one}\n- kind: B\n",
    "apiVersion: v1\nkind: List\nitems: []\n",
    "apiVersion: v1\nkind: List\n",
    "kind: ResourceList\nfunctionConfig: {a: b}\n",
    "kind: ConfigMapList\nitems:\n- metadata: {name: one}\n",
    "text\n",
    "- a\n- b\n",
    "[]\n",
    "{}\n",
    "null\n",
    "~\n",
    "# only a comment\n",
    "# first\n\n# second\nkind: C\n",
    "",
    "  \n",
    "a: [\n",
    "a: 'b\n",
    "kind: D\na: &x {b: c}\nd: *x\ne:\n  <<: *x\n",
    "kind: E\ntext: |\n  one\n\n  two\nfolded: >-\n  a\n  b\n",
    "kind: E\ntext: |\n  one\n  ---\n  two\n",
    "kind: F\r\nmetadata:\r\n  name: crlf\r\n",
    "kind: G\nlist:\n  -   a\n  - - b\n    - c\n  - d: 1\n    e: 2\n",
    "kind: H\nn: 007\nt: yes\nd: 2001-01-01\nq: \"a\\tb\"\nl: 'it''s'\nu: é\n",
    "{\"kind\": \"J\", \"metadata\": {\"name\": \"json\"}}\n",
    "kind: K # hook\nmetadata:\n  annotations: # why\n    # inside\n    helm.sh/hook: test # yes\n",
    "kind: L\nmetadata:\n  name: l\n  annotations:\n    a: b\n    n: 1\n    multi: |\n      x\n      y\n",
];

const SEPARATORS: [&str; 5] = ["\n---\n", "---\n", "--- # c\n", "\n---\n# d\n", "\n--- x\n"];

/// Records its input.
struct Recorder {
    question: Value,
    inputs: Mutex<Vec<String>>,
}

impl PostRenderer for Recorder {
    fn run(&self, manifests: &str) -> Result<String, String> {
        let mut inputs = self.inputs.lock().unwrap();
        inputs.push(manifests.to_owned());
        match self.question["fail"].as_str() {
            Some("") | None => {}
            Some(why) => return Err(why.to_owned()),
        }
        if let Some(output) = self.question["outputs"][inputs.len() - 1].as_str() {
            return Ok(output.to_owned());
        }
        let replace = |i: usize| self.question["replace"][i].as_str().unwrap_or_default();
        Ok(match replace(0) {
            "" => manifests.to_owned(),
            from => manifests.replace(from, replace(1)),
        })
    }
}

fn ours(question: &Value) -> Answer {
    let mut files = vec![File::new(
        "Chart.yaml",
        "apiVersion: v2\nname: c\nversion: 1.0.0\n",
    )];
    for (name, text) in question["files"].as_object().unwrap() {
        let text = text.as_str().unwrap().to_owned();
        files.push(File::new(format!("templates/{name}"), text));
    }
    let chart = Chart::from_files(files).unwrap();
    let recorder = Arc::new(Recorder {
        question: question.clone(),
        inputs: Mutex::default(),
    });
    let mut options = RenderOptions::new("rel", "apps");
    options.post_renderer = Some(Arc::clone(&recorder) as Arc<_>);
    let strategy = question["strategy"].as_str().unwrap();
    options.post_render_strategy = match PostRenderStrategy::named(strategy) {
        Ok(strategy) => strategy,
        Err(error) => return Answer::Error(chain(&error)),
    };
    let values: Values = load_values(b"").unwrap();
    match render(&chart, &values, &options) {
        Ok(rendered) => {
            let hooks = match rendered.hooks.as_slice() {
                [] => Value::Null,
                hooks => serde_json::to_value(hooks).unwrap(),
            };
            let inputs = recorder.inputs.lock().unwrap().clone();
            let inputs = if inputs.is_empty() {
                Value::Null
            } else {
                json!(inputs)
            };
            let manifest = rendered.manifest(false);
            Answer::Output(json!({"inputs": inputs, "hooks": hooks, "manifest": manifest}))
        }
        Err(error) => Answer::Error(chain(&error)),
    }
}

fn file(random: &mut Random) -> String {
    let mut text = String::new();
    for i in 0..=random.below(3) {
        if i > 0 {
            let common = !random.one_in(3);
            text.push_str(if common {
                SEPARATORS[0]
            } else {
                random.pick(&SEPARATORS)
            });
        }
        let odd = random.one_in(3);
        let bound = if odd { DOCUMENTS.len() } else { 10 };
        text.push_str(DOCUMENTS[random.below(bound)]);
    }
    text
}

fn questions() -> Vec<Value> {
    let ask = |files: Value, strategy: &str| {
        json!({"mode": "postrender", "files": files, "strategy": strategy,
            "outputs": [], "fail": "", "replace": ["", ""]})
    };
    let mut questions = Vec::new();
    let both = json!({"a.yaml": DOCUMENTS[0], "b.yaml": DOCUMENTS[2], "_p.yaml": "no: [yaml"});
    // HE-MAN-016
    for strategy in STRATEGIES {
        // HE-MAN-014, HE-MAN-018
        for document in DOCUMENTS {
            questions.push(ask(json!({"a.yaml": document}), strategy));
            // HE-MAN-015
            let mut question = ask(both.clone(), strategy);
            question["outputs"] = json!([document, document]);
            questions.push(question);
        }
        // HE-MAN-017
        let mut question = ask(both.clone(), strategy);
        question["fail"] = json!("no such luck");
        questions.push(question);
    }
    for strategy in ["", "other"] {
        questions.push(ask(both.clone(), strategy));
    }
    let mut random = Random::new(11);
    for _ in 0..oracle::cases(1000) {
        let files: serde_json::Map<_, _> = ["a.yaml", "b.yaml", "d/c.yaml"]
            .into_iter()
            .take(1 + random.below(3))
            .map(|name| (name.to_owned(), json!(file(&mut random))))
            .collect();
        let mut question = ask(Value::Object(files), random.pick(&STRATEGIES));
        match random.below(4) {
            0 => question["replace"] = json!(["name: a", "name: changed\n  namespace: x"]),
            1 => question["outputs"] = json!([file(&mut random), file(&mut random)]),
            2 => question["replace"] = json!([flux_helm::FILE_ANNOTATION, "other"]),
            _ => {}
        }
        questions.push(question);
    }
    questions
}

#[test]
fn post_rendering_matches_helm() {
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    let questions = questions();
    let (mut different, mut failed) = (Vec::new(), 0);
    for (question, theirs) in questions.iter().zip(go.ask_all(&questions)) {
        let ours = ours(question);
        failed += usize::from(matches!(theirs, Answer::Error(_)));
        if ours != theirs {
            different.push(format!(
                "{question}\n  ours:   {ours:?}\n  theirs: {theirs:?}\n"
            ));
        }
    }
    println!("{} cases, {failed} of them errors", questions.len());
    let count = different.len();
    different.truncate(12);
    assert!(
        different.is_empty(),
        "{count} differ:\n{}",
        different.join("\n")
    );
}
