//! The template language: what Go 1.26 prints for each template on the same data.

use std::sync::Arc;

use flux_gotemplate::{Functions, Limits, Map, MissingKey, Nothing, Session, Templates, Value};

fn data() -> Value {
    let nested: Map = [("deep", Value::from("x")), ("nil", Value::Nil)]
        .into_iter()
        .collect();
    let list = vec![
        Value::from("a"),
        Value::from(1.5),
        Value::Nil,
        Value::from(true),
    ];
    let map: Map = [
        ("s", Value::from("héllo")),
        ("f", Value::from(8080.0)),
        ("big", Value::from(1_000_000.0)),
        ("i", Value::int(-3)),
        ("t", Value::from(true)),
        ("l", Value::from(list)),
        ("m", Value::from(nested)),
        ("none", Value::Nil),
        ("empty", Value::from(Map::new())),
    ]
    .into_iter()
    .collect();
    Value::from(map)
}

fn render(text: &str, missing: MissingKey) -> String {
    let functions = Arc::new(Functions::new());
    let mut templates = Templates::new("t", functions).with_missing_key(missing);
    if let Err(e) = templates.parse("t", text.as_bytes()) {
        return format!("ERROR {e}");
    }
    let mut session = Session::new(Nothing, Limits::default());
    match templates.execute(&mut session, "t", data()) {
        Ok(out) => String::from_utf8_lossy(&out).into_owned(),
        Err(e) => format!("ERROR {e}"),
    }
}

#[test]
fn prints_what_go_prints() {
    let (mut wrong, mut cases) = (Vec::new(), 0);
    for (text, expected) in include_str!("language.txt")
        .split("\n====\n")
        .filter_map(|case| case.split_once("\n----\n"))
    {
        let (text, missing) = match text.strip_prefix("ZERO ") {
            Some(text) => (text, MissingKey::Zero),
            None => match text.strip_prefix("STRICT ") {
                Some(text) => (text, MissingKey::Error),
                None => (text, MissingKey::Default),
            },
        };
        let ours = render(text, missing);
        if ours != expected {
            wrong.push(format!("{text}\n  go:   {expected}\n  ours: {ours}"));
        }
        cases += 1;
    }
    assert!(cases > 150, "the table is cut short: {cases}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
