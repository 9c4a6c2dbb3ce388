//! The artifact server compared with Go's: the same requests, byte by byte, and both responses.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use flux_artifact::server::{Limits, listen, serve};
use oracle::{Answer, Oracle, base64};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// 2001-09-09 01:46:40.5
const MODIFIED: u64 = 1_000_000_000_500;

const AT: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
const BEFORE: &str = "Sun, 09 Sep 2001 01:46:39 GMT";
const AFTER: &str = "Sun, 09 Sep 2001 01:46:41 GMT";

const FILES: [(&str, &[u8]); 5] = [
    (
        "a/archive.tar.gz",
        b"\x1f\x8b\x08\0\0\0\0\0\0\xff0123456789",
    ),
    ("a/text", b"0123456789"),
    ("a/empty", b""),
    ("a/sub/sha256:0.tar.gz", b"\x1f\x8b\x08"),
    ("indexed/index.html", b"<html>"),
];

/// Header lines of requests for `/a/text`.
fn conditions() -> Vec<Vec<String>> {
    let mut cases = Vec::new();
    let tags = [
        "*",
        "\"tag\"",
        "W/\"tag\"",
        "\"tag\", *",
        ", ,*",
        "tag",
        "\"open",
        "\"a\"\"b\" *",
        "",
    ];
    // SC-ART-052
    let dates = [
        BEFORE,
        AT,
        AFTER,
        "nonsense",
        "",
        "Sunday, 09-Sep-01 01:46:40 GMT",
        "Sun Sep  9 01:46:40 2001",
    ];
    let ranges = [
        "bytes=2-4",
        "bytes=2-",
        "bytes=-3",
        "bytes=-30",
        "bytes=-0",
        "bytes=10-",
        "bytes=9-20",
        "bytes=4-2",
        "bytes=x",
        "bytes=",
        "bytes= 0-0 , 2-2 ,",
        "bytes=0-0,20-",
        "bytes=20-,30-",
        "bytes=0-,0-",
        "bytes=0-4,2-6",
        "bytes=0-1,8-9",
        "bytes=0-9",
        "lines=0-1",
        "Bytes=0-1",
        "bytes=+1-2",
        "bytes=1-+2",
        "bytes=0x1-2",
        "bytes=99999999999999999999-",
        "bytes=--1",
        "bytes=0-99999999999999999999",
        "bytes=-",
        "bytes=5",
        "",
        " bytes=1-2",
        "bytes=0-0, 0-0",
    ];
    for name in ["If-Match", "If-None-Match", "If-Range"] {
        cases.extend(tags.map(|tag| vec![format!("{name}: {tag}")]));
    }
    for name in ["If-Modified-Since", "If-Unmodified-Since", "If-Range"] {
        cases.extend(dates.map(|date| vec![format!("{name}: {date}")]));
    }
    cases.extend(ranges.map(|range| vec![format!("Range: {range}")]));
    for range in ["bytes=2-4", "bytes=10-"] {
        for value in tags.iter().chain(&dates) {
            cases.push(vec![
                format!("Range: {range}"),
                format!("If-Range: {value}"),
            ]);
        }
    }
    for (tag, date) in [("*", BEFORE), ("\"tag\"", BEFORE), ("\"tag\"", AT)] {
        cases.push(vec![
            format!("If-Match: {tag}"),
            format!("If-Unmodified-Since: {date}"),
        ]);
        cases.push(vec![
            format!("If-None-Match: {tag}"),
            format!("If-Modified-Since: {date}"),
        ]);
        cases.push(vec![
            format!("If-None-Match: {tag}"),
            "Range: bytes=0-0".into(),
        ]);
    }
    cases.push(vec!["Range: bytes=0-0".into(), "Range: bytes=1-1".into()]);
    cases
}

/// Requests, as sent on the wire.
fn requests() -> Vec<String> {
    let line = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\n");
    let host = "Host: x\r\n";
    let end = "Connection: close\r\n\r\n";
    let mut requests = Vec::new();
    for headers in conditions() {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        for method in ["GET", "HEAD", "POST"] {
            requests.push(format!("{}{host}{headers}{end}", line(method, "/a/text")));
        }
    }
    for path in [
        // SC-ART-051
        "/",
        "/a",
        "/a?x=y",
        "/a/",
        "/a/text/",
        "/a/archive.tar.gz",
        "/a/empty",
        "/a/sub/",
        "/a/none",
        "/a/text/x",
        // SC-ART-053
        "//a//text",
        "/a/./text",
        "/a/../a/text",
        "/../a/text",
        "/a/%2e%2e/a/text",
        "/a/sub/sha256:0.tar.gz",
        "/a/sub/sha256%3A0.tar.gz",
        "/indexed/",
        "/indexed",
        "/indexed/index.html",
        "/a/te%78t",
        "/a%2Ftext",
        "/a/?x",
        "//a//text?a&'c'",
        "/a/text?a=b",
    ] {
        for method in ["GET", "HEAD", "POST"] {
            requests.push(format!("{}{host}{end}", line(method, path)));
        }
    }
    for headers in [
        "Range: bytes=0-0",
        "If-Match: *",
        "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
    ] {
        for path in ["/a/", "/a/empty", "/a/none"] {
            requests.push(format!("{}{host}{headers}\r\n{end}", line("GET", path)));
        }
    }
    // SC-ART-050: hosts
    let get = line("GET", "/a/text");
    for hosts in [
        "",
        "Host: x\r\nHost: x\r\n",
        "Host: x\r\nHost: y\r\n",
        "Host:\r\n",
        "Host: x:80\r\n",
        "Host: [::1]:80\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: a@b\r\n",
    ] {
        requests.push(format!("{get}{hosts}{end}"));
    }
    for hosts in ["", "Host: x\r\n", "Host: x\r\nHost: x\r\n"] {
        requests.push(format!("GET /a/text HTTP/1.0\r\n{hosts}\r\n"));
    }
    requests.push("GET http://y/a/text HTTP/1.1\r\nConnection: close\r\n\r\n".into());
    requests.push("GET http://y/a/text HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".into());
    requests
}

/// A response without what may differ: the date, the boundary between parts, the order and case of header names.
#[derive(Debug, PartialEq)]
struct Told {
    status: String,
    headers: BTreeMap<String, String>,
    body: String,
}

fn told(answer: &[u8]) -> Told {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.split("\r\n");
    // The reason phrase is for people.
    let mut status = lines
        .next()
        .unwrap_or_default()
        .split(' ')
        .take(2)
        .collect::<Vec<_>>()
        .join(" ");
    let mut headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .filter(|(name, _)| name != "date")
        .collect();
    if status.ends_with(" 400") {
        // Go writes these directly, in one version and without a length.
        headers.remove("content-length");
        "HTTP/1.1 400".clone_into(&mut status);
    }
    let mut body = body.to_owned();
    let boundary = headers
        .get("content-type")
        .and_then(|kind| kind.strip_prefix("multipart/byteranges; boundary="))
        .map(str::to_owned);
    if let Some(boundary) = boundary {
        let expected = headers.insert("content-length".into(), String::new());
        let length = if body.is_empty() {
            expected.clone()
        } else {
            Some(body.len().to_string())
        };
        assert_eq!(expected, length);
        headers.insert("content-type".into(), "multipart/byteranges".into());
        body = body.replace(&boundary, "boundary");
    }
    Told {
        status,
        headers,
        body,
    }
}

fn write_files(root: &Path) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(MODIFIED);
    for (name, content) in FILES {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        for path in path.ancestors().take_while(|path| path.starts_with(root)) {
            fs::File::open(path).unwrap().set_modified(time).unwrap();
        }
    }
}

async fn ask(address: &str, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

// SC-ART-050, SC-ART-054, RT-ART-012
#[tokio::test]
async fn responses_match_go() {
    let Some(mut go) = Oracle::live("fileserver") else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    write_files(root.path());
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve(
        listener,
        root.path().to_owned(),
        Limits::default(),
        std::future::pending(),
    ));
    let requests = requests();
    let file = |(path, content): (&str, &[u8])| json!({"path": path, "content": base64(content), "modified": MODIFIED});
    let answer = go.ask(&json!({
        "mode": "answers",
        "files": FILES.map(file),
        "requests": requests.iter().map(base64).collect::<Vec<_>>(),
    }));
    let Answer::Output(answers) = answer else {
        panic!("{answer:?}")
    };
    let answers: Vec<String> = serde_json::from_value(answers).unwrap();
    assert_eq!(answers.len(), requests.len());
    let mut different = Vec::new();
    for (request, theirs) in requests.iter().zip(answers) {
        let theirs = told(&BASE64.decode(theirs).unwrap());
        let ours = told(&ask(&address, request).await);
        if ours != theirs {
            different.push(format!(
                "{request:?}\nours:   {ours:?}\ntheirs: {theirs:?}\n"
            ));
        }
    }
    assert!(
        different.is_empty(),
        "{} of {} differ:\n{}",
        different.len(),
        requests.len(),
        different.join("\n")
    );
}
