//! Compares selectors with Kubernetes' own package.

use flux_selector::Selector;
use oracle::{Answer, Oracle, base64, cases, seed};
use serde_json::{Value, json};

const PIECES: [&str; 30] = [
    "a",
    "b",
    "in",
    "notin",
    "x.io/",
    "X/",
    "/",
    "=",
    "==",
    "!=",
    "!",
    ",",
    ",",
    "(",
    ")",
    "<",
    ">",
    " ",
    "  ",
    "5",
    "07",
    "-",
    "_",
    ".",
    "é",
    "\u{a0}",
    "\u{200b}",
    "a in (b)",
    "a=b",
    "loooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooong",
];

#[test]
fn selectors_are_read_written_and_matched_as_by_kubernetes() {
    let Some(mut go) = Oracle::start("selector") else {
        return;
    };
    let mut state = seed().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % end
    };
    let mut texts: Vec<String> = (0..cases(5000))
        .map(|_| (0..below(8)).map(|_| PIECES[below(PIECES.len())]).collect())
        .collect();
    texts.push(format!("{}/a=b", "a.".repeat(130)));
    texts.push("a in (b,-,_)".to_owned());
    texts.push("a>-".to_owned());
    let sets = json!([{}, {"a": "b"}, {"a": "5", "b": ""}, {"in": "a", "notin": "in"}, {"a": "-3", "x.io/a": "b"}]);
    let requests: Vec<Value> = texts
        .iter()
        .map(|text| json!({"mode": "parse", "text": base64(text), "labels": sets}))
        .collect();
    let mut wrong = Vec::new();
    for (text, answer) in texts.iter().zip(go.ask_all(&requests)) {
        let theirs = match answer {
            Answer::Output(output) => Ok(output),
            Answer::Error(error) => Err(error),
            Answer::Panic(panic) => panic!("{text}: {panic}"),
        };
        let ours = Selector::parse(text).map_err(|error| error.to_string());
        let ours = ours.map(|selector| {
            let sets = sets.as_array().into_iter().flatten();
            let matched: Vec<bool> = sets
                .map(|set| selector.matches(|key| set.get(key).and_then(Value::as_str)))
                .collect();
            json!([selector.to_string(), matched])
        });
        if ours != theirs {
            wrong.push(format!("{text:?}\n  ours   {ours:?}\n  theirs {theirs:?}"));
        }
    }
    let first: Vec<_> = wrong.iter().take(20).map(String::as_str).collect();
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        first.join("\n")
    );
}
