//! The artifact server as a client sees it.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use flux_artifact::server::{Limits, ListenError, listen, serve};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Response, redirect};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Served {
    folder: TempDir,
    address: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let root = folder.path().to_owned();
        let task = tokio::spawn(serve(listener, root, limits, async {
            let _ = stopped.await;
        }));
        Self {
            folder,
            address,
            stop,
            task,
        }
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let file = self.folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_000_500);
        fs::File::open(&file).unwrap().set_modified(time).unwrap();
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&'static str, &str)]) -> Response {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let url = format!("http://{}{path}", self.address);
        client
            .request(method, url)
            .headers(map)
            .send()
            .await
            .unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, &[]).await
    }

    /// The raw response for a path that no client library would send.
    async fn raw(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

fn provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

const MODIFIED: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
const GZIP: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

// SC-ART-050 RT-ART-012
#[tokio::test]
async fn files_are_served_unchanged() {
    provider();
    let served = Served::start().await;
    served.write("ocirepository/ns/app/sha256:ab.tar.gz", GZIP);
    served.write("helmrepository/ns/app/index-1.yaml", "apiVersion: v1\n");
    symlink(
        "sha256:ab.tar.gz",
        served
            .folder
            .path()
            .join("ocirepository/ns/app/latest.tar.gz"),
    )
    .unwrap();

    // SC-ART-052
    let response = served.get("/ocirepository/ns/app/sha256:ab.tar.gz").await;
    assert_eq!(response.status(), 200);
    for (name, want) in [
        ("content-length", "10"),
        // SC-ART-054
        ("content-type", "application/x-gzip"),
        ("last-modified", MODIFIED),
        ("accept-ranges", "bytes"),
        ("content-encoding", ""),
    ] {
        assert_eq!(header(&response, name), want, "{name}");
    }
    assert_eq!(response.bytes().await.unwrap(), &GZIP[..]);

    // SC-ART-053
    for path in [
        "/ocirepository/ns/app/sha256%3Aab.tar.gz",
        "/ocirepository/ns/app/latest.tar.gz",
    ] {
        assert_eq!(
            served.get(path).await.bytes().await.unwrap(),
            &GZIP[..],
            "{path}"
        );
    }
    let index = served.get("/helmrepository/ns/app/index-1.yaml").await;
    assert_eq!(header(&index, "content-type"), "text/plain; charset=utf-8");

    let head = served
        .send(Method::HEAD, "/helmrepository/ns/app/index-1.yaml", &[])
        .await;
    assert_eq!(
        (head.status().as_u16(), header(&head, "content-length")),
        (200, "15")
    );
    assert_eq!(head.bytes().await.unwrap(), "");
}

// SC-ART-051 SC-ART-055
#[tokio::test]
async fn folders_are_listed() {
    provider();
    let served = Served::start().await;
    served.write("a/b:c.tar.gz", "");
    served.write("z", "");
    let response = served.get("/").await;
    assert_eq!(response.status(), 200);
    assert_eq!(
        header(&response, "content-type"),
        "text/html; charset=utf-8"
    );
    assert_eq!(
        response.text().await.unwrap(),
        "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n<a href=\"a/\">a/</a>\n<a href=\"z\">z</a>\n</pre>\n"
    );
    let below = served.get("/a/").await.text().await.unwrap();
    assert!(below.contains("<a href=\"./b:c.tar.gz\">b:c.tar.gz</a>"));
    let head = served.send(Method::HEAD, "/", &[]).await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.bytes().await.unwrap(), "");
}

// SC-ART-051 SC-ART-053
#[tokio::test]
async fn request_paths_are_cleaned() {
    provider();
    let served = Served::start().await;
    served.write("a/file", "x");
    fs::write(
        served
            .folder
            .path()
            .parent()
            .unwrap()
            .join("flux-artifact-outside"),
        "secret",
    )
    .unwrap();
    for (path, status, location) in [
        ("/a", 301, "a/"),
        ("/a?x=y", 301, "a/?x=y"),
        ("/a/file/", 301, "../file"),
        ("/a/index.html", 301, "./"),
        ("//a//file", 307, "/a/file"),
        ("/../a/./file", 307, "/a/file"),
        (
            "/a/../../flux-artifact-outside",
            307,
            "/flux-artifact-outside",
        ),
        ("/%2e%2e/flux-artifact-outside", 404, ""),
        ("/a/%2e%2e%2f%2e%2e%2fflux-artifact-outside", 404, ""),
        ("/nothing", 404, ""),
        ("/a/file/x", 404, ""),
        ("/a%00", 400, ""),
        ("/a%zz", 400, ""),
    ] {
        let answer = served.raw(path).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {answer}"
        );
        if location.is_empty() {
            assert!(!answer.contains("secret"));
        } else {
            assert!(
                answer.contains(&format!("location: {location}\r\n")),
                "{path}: {answer}"
            );
        }
    }
    let missing = served.get("/nothing").await;
    assert_eq!(
        header(&missing, "content-type"),
        "text/plain; charset=utf-8"
    );
    assert_eq!(missing.text().await.unwrap(), "404 page not found\n");
}

// SC-ART-052
#[tokio::test]
async fn range_and_conditional_requests_are_answered() {
    provider();
    let served = Served::start().await;
    served.write("f", "0123456789");
    served.write("empty", "");
    let (before, after) = (
        "Sun, 09 Sep 2001 01:46:39 GMT",
        "Sun, 09 Sep 2001 01:46:41 GMT",
    );
    for (headers, status, body) in [
        (&[("range", "bytes=2-4")][..], 206, "234"),
        (&[("range", "bytes=-1")], 206, "9"),
        (
            &[("range", "bytes=10-")],
            416,
            "invalid range: failed to overlap\n",
        ),
        (&[("range", "bytes=x")], 416, "invalid range\n"),
        (&[("range", "bytes=0-,0-")], 200, "0123456789"),
        (&[("if-modified-since", MODIFIED)], 304, ""),
        (&[("if-modified-since", after)], 304, ""),
        (&[("if-modified-since", before)], 200, "0123456789"),
        (&[("if-modified-since", "nonsense")], 200, "0123456789"),
        (&[("if-unmodified-since", before)], 412, ""),
        (&[("if-unmodified-since", MODIFIED)], 200, "0123456789"),
        (&[("if-none-match", "*")], 304, ""),
        (&[("if-none-match", "\"tag\"")], 200, "0123456789"),
        (
            &[
                ("if-none-match", "\"tag\""),
                ("if-modified-since", MODIFIED),
            ],
            200,
            "0123456789",
        ),
        (&[("if-match", "\"tag\"")], 412, ""),
        (&[("if-match", "*")], 200, "0123456789"),
        (&[("range", "bytes=0-0"), ("if-range", MODIFIED)], 206, "0"),
        (
            &[("range", "bytes=0-0"), ("if-range", before)],
            200,
            "0123456789",
        ),
        (
            &[("range", "bytes=0-0"), ("if-range", "\"tag\"")],
            200,
            "0123456789",
        ),
    ] {
        let response = served.send(Method::GET, "/f", headers).await;
        assert_eq!(response.status(), status, "{headers:?}");
        assert_eq!(response.text().await.unwrap(), body, "{headers:?}");
    }
    let partial = served
        .send(Method::GET, "/f", &[("range", "bytes=2-4")])
        .await;
    assert_eq!(header(&partial, "content-range"), "bytes 2-4/10");
    let beyond = served
        .send(Method::GET, "/f", &[("range", "bytes=10-")])
        .await;
    assert_eq!(header(&beyond, "content-range"), "bytes */10");
    let empty = served
        .send(Method::GET, "/empty", &[("range", "bytes=0-")])
        .await;
    assert_eq!(empty.status(), 200);
    let folder = served
        .send(
            Method::GET,
            "/",
            &[("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")],
        )
        .await;
    assert_eq!(folder.status(), 304);

    let several = served
        .send(Method::GET, "/f", &[("range", "bytes=0-1,8-9")])
        .await;
    assert_eq!(several.status(), 206);
    let boundary = header(&several, "content-type")
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap()
        .to_owned();
    let length: usize = header(&several, "content-length").parse().unwrap();
    let kind = "Content-Type: text/plain; charset=utf-8";
    let body = several.text().await.unwrap();
    assert_eq!(body.len(), length);
    assert_eq!(
        body,
        format!(
            "--{boundary}\r\nContent-Range: bytes 0-1/10\r\n{kind}\r\n\r\n01\r\n--{boundary}\r\nContent-Range: bytes 8-9/10\r\n{kind}\r\n\r\n89\r\n--{boundary}--\r\n"
        )
    );
}

// SC-PROC-046 RT-ART-013
#[tokio::test]
async fn shutdown_finishes_running_downloads_and_refuses_new_ones() {
    provider();
    let served = Served::start().await;
    let content = vec![7; 64 << 20];
    served.write("big", &content);
    let mut response = served.get("/big").await;
    let mut received = response.chunk().await.unwrap().unwrap().len();
    let Served {
        address,
        stop,
        task,
        folder,
    } = served;
    stop.send(()).unwrap();
    while let Some(chunk) = response.chunk().await.unwrap() {
        received += chunk.len();
    }
    assert_eq!(received, content.len());
    task.await.unwrap();
    assert!(TcpStream::connect(&address).await.is_err());
    drop(folder);
}

// SC-PROC-043 RT-ART-013
#[tokio::test]
async fn listen_errors_are_reported() {
    let taken = listen("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = listen(&address).await.unwrap_err();
    assert_eq!(error.to_string(), format!("listen tcp {address}"));
    assert!(matches!(listen("9090").await, Err(ListenError::Address(_))));
    assert!(matches!(
        listen("localhost:http-alt").await,
        Err(ListenError::Bind { .. })
    ));
    let everywhere = listen(":0").await.unwrap();
    let port = everywhere.local_addr().unwrap().port();
    TcpStream::connect(("127.0.0.1", port)).await.unwrap();
}
