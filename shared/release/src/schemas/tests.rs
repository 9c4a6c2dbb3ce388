//! Charts whose schemas refer to documents on a server.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flux_helm::{Chart, File, load_values};
use flux_http::{Proxy, ProxyUrl};
use oracle::{Answer, Oracle};
use serde_json::json;

use super::*;

/// A server with the documents that `answer` returns for a path, running until the process ends; and the number of its
/// requests.
fn server(
    answer: impl Fn(&str) -> String + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&asked);
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::SeqCst);
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let path = request_path(&mut stream);
                let _ = stream.write_all(answer(&path).as_bytes());
            });
        }
    });
    (address, asked)
}

fn request_path(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    head.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn redirect(to: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

fn chart(schema: &str) -> ParsedChart {
    let chart = Chart::from_files(vec![
        File::new("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
        File::new("values.schema.json", schema.to_owned()),
    ]);
    ParsedChart::new(chart.unwrap())
}

/// Fetches from any host, without a proxy.
fn local() -> SchemaDocuments {
    let fetch = PublicFetch {
        allow_private: true,
        proxy: Proxy::None,
        ..PublicFetch::default()
    };
    SchemaDocuments::new(&Budget::unlimited(), fetch)
}

/// The result of validating a chart's values: nothing, or the message below the chart's name.
async fn check(
    chart: &ParsedChart,
    values: &str,
    documents: &SchemaDocuments,
) -> Result<(), String> {
    let values = load_values(values.as_bytes()).unwrap();
    let options = RenderOptions::new("web", "apps");
    let rendered = documents.render(chart.clone(), values, options).await;
    rendered.map(drop).map_err(|error| {
        let text = error.to_string();
        let (_, text) = text.split_once("web:\n").expect("the chart is named");
        text.to_owned()
    })
}

/// Documents of all kinds; `{host}` is replaced by the server's address.
fn documents(path: &str, host: &str) -> String {
    match path {
        "/number.json" => ok(r#"{"type": "number", "maximum": 10}"#),
        "/defs.json" => ok(
            r##"{"$defs": {"port": {"type": "integer", "maximum": 65535}, "both": {"allOf": [{"$ref": "#/$defs/port"}, {"$ref": "number.json"}]}}}"##,
        ),
        "/deep/chain.json" => ok(r#"{"properties": {"x": {"$ref": "../defs.json#/$defs/both"}}}"#),
        "/named.json" => ok(&format!(
            r#"{{"$id": "http://{host}/deep/other.json", "properties": {{"x": {{"$ref": "chain.json"}}}}}}"#
        )),
        "/anchor.json" => ok(r#"{"$defs": {"a": {"$anchor": "here", "minLength": 3}}}"#),
        "/draft4.json" => ok(
            r#"{"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 5, "exclusiveMaximum": true}"#,
        ),
        "/meta.json" => ok(
            r#"{"$schema": "https://json-schema.org/draft/2020-12/schema", "$vocabulary": {"https://json-schema.org/draft/2020-12/vocab/core": true}}"#,
        ),
        "/cycle.json" => ok(r#"{"items": {"$ref": "cycle2.json"}}"#),
        "/cycle2.json" => ok(r#"{"items": {"$ref": "cycle.json"}, "type": "array"}"#),
        "/loop.json" => ok(r#"{"$ref": "loop.json"}"#),
        "/invalid.json" => ok(r#"{"type": 5}"#),
        "/broken.json" => ok("{"),
        "/empty.json" => ok(""),
        "/twice.json" => ok("{} {}"),
        "/html.json" => ok("<html></html>"),
        "/redirect.json" => redirect("/deep/../number.json"),
        "/missing-target.json" => redirect("/gone.json"),
        "/error.json" => status("500 Internal Server Error"),
        "/teapot.json" => status("418 I'm a teapot"),
        "/created.json" => "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        _ => status("404 Not Found"),
    }
}

#[tokio::test]
async fn remote_schemas_are_resolved_as_in_helm() {
    // HE-SCHEMA-005
    let host = Arc::new(std::sync::OnceLock::<String>::new());
    let known = Arc::clone(&host);
    let (address, _) = server(move |path| documents(path, known.get().map_or("", |h| h)));
    host.set(address.to_string()).unwrap();
    let mut cases = Vec::new();
    for (document, value) in [
        ("number.json", "1"),
        ("number.json", "11"),
        ("number.json#", "\"x\""),
        ("number.json?a=b#/maximum", "1"),
        ("number.json#/none", "1"),
        ("defs.json#/$defs/port", "70000"),
        ("defs.json#/$defs/both", "12"),
        ("deep/chain.json", "{\"x\": 12}"),
        ("named.json", "{\"x\": {\"x\": 12}}"),
        ("anchor.json#here", "\"ab\""),
        ("anchor.json#there", "\"ab\""),
        ("draft4.json", "5"),
        ("cycle.json", "[[[1]]]"),
        ("loop.json", "1"),
        ("invalid.json", "1"),
        ("broken.json", "1"),
        ("empty.json", "1"),
        ("twice.json", "1"),
        ("html.json", "1"),
        ("redirect.json", "11"),
        ("missing-target.json", "1"),
        ("error.json", "1"),
        ("teapot.json", "1"),
        ("created.json", "1"),
        ("gone.json", "1"),
    ] {
        let reference = format!("http://{address}/{document}");
        cases.push((
            format!(r#"{{"properties": {{"v": {{"$ref": "{reference}"}}}}}}"#),
            format!("{{\"v\": {value}}}"),
        ));
    }
    for (schema, value) in [
        (
            r#"{"$id": "http://HOST/root.json", "properties": {"v": {"$ref": "number.json"}}}"#,
            "11",
        ),
        (
            r#"{"$id": "http://HOST/root.json", "properties": {"v": {"$ref": "root.json#/$defs/a"}}, "$defs": {"a": {"type": "string"}}}"#,
            "11",
        ),
        (
            r#"{"$id": "http://HOST/a/root.json", "properties": {"v": {"$ref": "/number.json"}}}"#,
            "11",
        ),
        (
            r#"{"$schema": "http://HOST/meta.json", "properties": {"v": {"type": "string"}}}"#,
            "11",
        ),
        (
            r#"{"$schema": "http://HOST/gone.json", "properties": {"v": {"type": "string"}}}"#,
            "11",
        ),
        (
            r#"{"properties": {"v": {"$ref": "http://127.0.0.1:1/a.json"}}}"#,
            "11",
        ),
        (
            r#"{"$defs": {"unused": {"$ref": "http://127.0.0.1:1/a.json"}}, "properties": {"v": {"type": "string"}}}"#,
            "11",
        ),
        (
            r#"{"properties": {"v": {"enum": [{"$ref": "http://127.0.0.1:1/a.json"}]}}}"#,
            "11",
        ),
    ] {
        let schema = schema.replace("HOST", &address.to_string());
        cases.push((schema, format!("{{\"v\": {value}}}")));
    }
    let Some(mut go) = Oracle::live("helm") else {
        return;
    };
    let mut different = Vec::new();
    for (schema, values) in &cases {
        let ours = check(&chart(schema), values, &local()).await;
        let parsed: serde_json::Value = serde_json::from_str(values).unwrap();
        let question = json!({"mode": "schema", "schema": schema, "values": parsed});
        let theirs = match go.ask(&question) {
            Answer::Output(_) => Ok(()),
            Answer::Error(text) | Answer::Panic(text) => Err(text),
        };
        if ours != theirs {
            different.push(format!(
                "{schema} {values}\n  ours:   {ours:?}\n  theirs: {theirs:?}\n"
            ));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[tokio::test]
async fn schemas_are_cached_and_failures_are_not() {
    let failing = Arc::new(AtomicUsize::new(1));
    let fails = Arc::clone(&failing);
    let (address, asked) = server(move |path| match fails.load(Ordering::SeqCst) {
        1 => status("503 Service Unavailable"),
        _ => documents(path, ""),
    });
    let chart = chart(&format!(
        r#"{{"properties": {{"v": {{"$ref": "http://{address}/number.json"}}}}}}"#
    ));
    let documents = local();
    let error = check(&chart, "v: 1", &documents).await.unwrap_err();
    assert_eq!(
        error,
        format!(
            "failing loading \"http://{address}/number.json\": HTTP request to http://{address}/number.json returned status 503 (Service Unavailable)"
        )
    );
    failing.store(0, Ordering::SeqCst);
    check(&chart, "v: 1", &documents).await.unwrap();
    let asked_before = asked.load(Ordering::SeqCst);
    check(&chart, "v: 11", &documents).await.unwrap_err();
    assert_eq!(asked.load(Ordering::SeqCst), asked_before);
}

#[tokio::test]
async fn a_changed_schema_is_compiled_again() {
    let maximum = Arc::new(AtomicUsize::new(5));
    let current = Arc::clone(&maximum);
    let (address, _) = server(move |_| {
        ok(&format!(
            r#"{{"maximum": {}}}"#,
            current.load(Ordering::SeqCst)
        ))
    });
    let chart = chart(&format!(
        r#"{{"properties": {{"v": {{"$ref": "http://{address}/a.json"}}}}}}"#
    ));
    check(&chart, "v: 7", &local()).await.unwrap_err();
    maximum.store(9, Ordering::SeqCst);
    check(&chart, "v: 7", &local()).await.unwrap();
}

#[tokio::test]
async fn schemas_on_private_hosts_are_refused() {
    let (address, asked) = server(|path| documents(path, ""));
    let port = address.port();
    let guarded = |proxy| {
        let fetch = PublicFetch {
            proxy,
            ..PublicFetch::default()
        };
        SchemaDocuments::new(&Budget::unlimited(), fetch)
    };
    for host in [
        format!("127.0.0.1:{port}"),
        format!("2130706433:{port}"),
        format!("[::1]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("localhost:{port}"),
        "169.254.169.254".to_owned(),
        "10.0.0.1".to_owned(),
    ] {
        let chart = chart(&format!(
            r#"{{"properties": {{"v": {{"$ref": "http://{host}/number.json"}}}}}}"#
        ));
        let error = check(&chart, "v: 1", &guarded(Proxy::None)).await;
        let error = error.unwrap_err();
        let begin =
            format!("failing loading \"http://{host}/number.json\": HTTP request failed for ");
        assert!(error.starts_with(&begin), "{error}");
        assert!(
            error.contains(" is loopback, link-local or private ("),
            "{error}"
        );
        assert!(error.contains(ALLOW_PRIVATE), "{error}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);

    // A proxy may reach public hosts, whose redirects lead back.
    for target in [
        "http://169.254.169.254/latest",
        "http://localhost/",
        "http://[fd00::1]/",
    ] {
        let (proxy, asked) = server(move |_| redirect(target));
        let proxy = ProxyUrl::parse(&format!("http://{proxy}")).unwrap();
        let chart = chart(r#"{"properties": {"v": {"$ref": "http://schemas.invalid/a.json"}}}"#);
        let error = check(&chart, "v: 1", &guarded(Proxy::Url(proxy))).await;
        let error = error.unwrap_err();
        assert!(
            error.contains(" is loopback, link-local or private ("),
            "{target}: {error}"
        );
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn chains_of_remote_schemas_are_bounded_in_number_and_size() {
    // Each document refers to the next.
    let (address, asked) = server(|path| {
        let number: usize = path
            .trim_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .unwrap_or(0);
        ok(&format!(
            r#"{{"items": {{"$ref": "{}.json"}}}}"#,
            number + 1
        ))
    });
    let endless = chart(&format!(
        r#"{{"properties": {{"v": {{"$ref": "http://{address}/1.json"}}}}}}"#
    ));
    let error = check(&endless, "v: 1", &local()).await.unwrap_err();
    assert_eq!(
        error,
        format!(
            "failing loading \"http://{address}/33.json\": a schema may refer to 32 documents elsewhere at most"
        )
    );
    assert_eq!(asked.load(Ordering::SeqCst), 32);

    let (address, _) = server(|_| {
        let length = MAX_DOCUMENT_BYTES + 1;
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{{")
    });
    let large = chart(&format!(
        r#"{{"properties": {{"v": {{"$ref": "http://{address}/a.json"}}}}}}"#
    ));
    let error = check(&large, "v: 1", &local()).await.unwrap_err();
    assert!(
        error.ends_with("response body exceeds the limit of 5242880 bytes"),
        "{error}"
    );

    // The documents exceed the budget.
    let fetch = PublicFetch {
        allow_private: true,
        ..PublicFetch::default()
    };
    let documents = SchemaDocuments::new(&Budget::new(1000), fetch);
    let error = check(&large, "v: 1", &documents).await.unwrap_err();
    assert!(error.contains("HTTP request failed for "), "{error}");
}

/// A small generator: tests must be reproducible.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// A document with at most one reference, so that there is only one order in which errors can occur.
    fn document(&mut self, host: &str) -> String {
        const PATHS: [&str; 14] = [
            "1.json",
            "2.json",
            "3.json",
            "4.json",
            "dir/5.json",
            "dir/6.json",
            "../1.json",
            "../dir/5.json",
            "/2.json",
            "./3.json",
            "named",
            "gone.json",
            "",
            "1.json?q",
        ];
        const FRAGMENTS: [&str; 9] = [
            "",
            "",
            "",
            "#",
            "#/$defs/d",
            "#here",
            "#/properties/x",
            "#/$defs/none",
            "#there",
        ];
        let mut parts = Vec::new();
        if self.below(4) == 0 {
            let id = match self.below(3) {
                0 => "named".to_owned(),
                1 => format!("http://{host}/dir/named"),
                _ => "/named.json".to_owned(),
            };
            parts.push(format!("\"$id\": \"{id}\""));
        }
        if self.below(3) > 0 {
            let anchor = ["", "\"$anchor\": \"here\", "][self.below(2)];
            let kind = self.pick(&[
                "\"type\": \"object\"",
                "\"minProperties\": 1",
                "\"maxProperties\": 0",
            ]);
            parts.push(format!("\"$defs\": {{\"d\": {{{anchor}{kind}}}}}"));
        }
        if self.below(5) > 0 {
            let base = ["", "", &format!("http://{host}/")][self.below(3)].to_owned();
            let reference = format!("{base}{}{}", self.pick(&PATHS), self.pick(&FRAGMENTS));
            parts.push(match self.below(3) {
                0 => format!("\"$ref\": \"{reference}\""),
                _ => format!("\"properties\": {{\"x\": {{\"$ref\": \"{reference}\"}}}}"),
            });
        }
        if self.below(3) == 0 {
            parts.push(
                self.pick(&[
                    "\"required\": [\"x\"]",
                    "\"type\": \"object\"",
                    "\"maxProperties\": 1",
                ])
                .to_owned(),
            );
        }
        if self.below(30) == 0 {
            parts.push("\"type\": 5".to_owned());
        }
        format!("{{{}}}", parts.join(", "))
    }
}

#[tokio::test]
async fn random_schema_references_resolve_as_in_helm() {
    // HE-SCHEMA-005
    let Some(mut go) = Oracle::live("helm") else {
        return;
    };
    let current = Arc::new(Mutex::new(HashMap::<String, String>::new()));
    let served = Arc::clone(&current);
    let (address, _) = server(move |path| {
        let documents = served.lock().unwrap();
        let path = path.split('?').next().unwrap_or_default();
        documents
            .get(path)
            .map_or_else(|| status("404 Not Found"), |text| ok(text))
    });
    let host = address.to_string();
    let mut random = Random(oracle::seed().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mut different, mut valid) = (Vec::new(), 0);
    for _ in 0..oracle::cases(300) {
        let paths = [
            "/1.json",
            "/2.json",
            "/3.json",
            "/4.json",
            "/dir/5.json",
            "/dir/6.json",
        ];
        let documents: HashMap<_, _> = paths
            .into_iter()
            .map(|path| (path.to_owned(), random.document(&host)))
            .collect();
        current.lock().unwrap().clone_from(&documents);
        let schema = format!(
            r#"{{"properties": {{"v": {{"$ref": "http://{host}{}"}}}}}}"#,
            random.pick(&paths)
        );
        let values = random.pick(&[
            r#"{"v": {"x": {"x": {"x": {"x": {}}}}}}"#,
            r#"{"v": {"x": {"x": 1}}}"#,
            r#"{"v": 1}"#,
            r#"{"v": {"x": {"y": {}}, "y": 1}}"#,
        ]);
        let ours = check(&chart(&schema), values, &local()).await;
        let parsed: serde_json::Value = serde_json::from_str(values).unwrap();
        let question = json!({"mode": "schema", "schema": schema, "values": parsed});
        let theirs = match go.ask(&question) {
            Answer::Output(_) => Ok(()),
            Answer::Error(text) | Answer::Panic(text) => Err(text),
        };
        valid += usize::from(
            theirs.is_ok() || theirs.as_ref().is_err_and(|text| text.starts_with("- at")),
        );
        if ours != theirs {
            different.push(format!(
                "{schema}\n{documents:#?}\n{values}\n  ours:   {ours:?}\n  theirs: {theirs:?}\n"
            ));
        }
    }
    println!("{valid} valid schemas");
    let count = different.len();
    different.truncate(5);
    assert!(
        different.is_empty(),
        "{count} differ:\n{}",
        different.join("\n")
    );
}
