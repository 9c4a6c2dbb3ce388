//! Sending: what is repeated, and error texts compared with Go's.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flux_http::{ClientOptions, ErrorKind, Proxy, ProxyUrl, Repeat, read_body, send};
use git_servers::{Authority, HttpGitServer};
use oracle::{Answer, Oracle};
use serde_json::json;

/// A server that runs `serve` on a thread per connection; it lives as long as the process.
fn server(serve: impl Fn(std::net::TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Reads to the end of a request's head; false at the end of the stream.
fn read_head(stream: &mut std::net::TcpStream) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}

/// A server that answers the first request of each connection and closes it on the next, like a proxy that does not
/// announce the close. Counts its requests.
fn forgetful() -> (SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&asked);
    let address = server(move |mut stream| {
        if read_head(&mut stream) {
            counter.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            if read_head(&mut stream) {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (address, asked)
}

fn direct() -> ClientOptions {
    ClientOptions {
        proxy: Proxy::None,
        ..ClientOptions::default()
    }
}

#[tokio::test]
async fn a_connection_closed_between_requests_is_replaced() {
    // RT-GIT-019, RT-EVT-007
    let (address, asked) = forgetful();
    let client = direct().build().unwrap();
    let url = format!("http://{address}/");
    for round in 0..10 {
        for request in [client.get(&url), client.post(&url)] {
            let answer = send(request, Repeat::Idempotent)
                .await
                .unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert_eq!(read_body(answer, 10).await.unwrap(), "ok");
        }
    }
    // The first request is answered at once, each of the others is sent twice.
    assert_eq!(asked.load(Ordering::SeqCst), 39);
}

#[tokio::test]
async fn a_request_that_may_have_been_carried_out_is_not_repeated() {
    let (address, asked) = forgetful();
    let client = direct().build().unwrap();
    let url = format!("http://{address}/");
    let first = send(client.post(&url), Repeat::Never).await.unwrap();
    assert_eq!(read_body(first, 10).await.unwrap(), "ok");
    let error = send(client.post(&url), Repeat::Never).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert_eq!(error.to_string(), format!("Post \"{url}\": EOF"));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn repetitions_are_limited() {
    let asked = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&asked);
    let address = server(move |mut stream| {
        if read_head(&mut stream) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let client = direct().build().unwrap();
    let request = client.get(format!("http://{address}/x"));
    let error = send(request, Repeat::Idempotent).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("Get \"http://{address}/x\": EOF")
    );
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

/// The error of a GET by Go and by this crate.
async fn both(go: &mut Oracle, url: &str, proxy: &str, timeout: u64) -> (String, String) {
    let request = json!({"mode": "send", "url": url, "proxy": proxy, "timeout": timeout});
    let Answer::Error(theirs) = go.ask(&request) else {
        panic!("{url} fails in Go");
    };
    let mut options = direct();
    if !proxy.is_empty() {
        options.proxy = Proxy::Url(ProxyUrl::parse(proxy).unwrap());
    }
    if timeout > 0 {
        options.timeout = Some(Duration::from_millis(timeout));
    }
    let client = options.build().unwrap();
    let ours = match send(client.get(url), Repeat::Idempotent).await {
        Ok(answer) => read_body(answer, 1 << 20)
            .await
            .map(|_| ())
            .unwrap_err()
            .to_string(),
        Err(error) => error.to_string(),
    };
    (theirs, ours)
}

// SC-GIT-029, RT-ART-016, RT-EVT-009
#[tokio::test]
async fn request_errors_read_as_in_go() {
    let Some(mut go) = Oracle::live("http") else {
        return;
    };
    let silent = server(|mut stream| {
        let mut buffer = [0; 1024];
        while matches!(stream.read(&mut buffer), Ok(read) if read > 0) {}
    });
    let closing = server(|mut stream| {
        read_head(&mut stream);
    });
    let hanging_up = server(|mut stream| {
        let _ = stream.shutdown(std::net::Shutdown::Write);
        while matches!(stream.read(&mut [0; 4096]), Ok(read) if read > 0) {}
    });
    let plain = HttpGitServer::builder()
        .redirect("/loop/", "/loop/")
        .start();
    let authority = Authority::new();
    let tls = HttpGitServer::builder().tls(&authority).start();
    let stale = server(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
    });
    let refusing = server(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    });
    let alert = server(|mut stream| {
        let mut hello = [0; 5];
        let _ = stream.read_exact(&mut hello);
        // A fatal alert: access_denied.
        let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 49]);
        let _ = stream.read(&mut [0; 4096]);
    });
    let plain_port = plain.address().port();
    for (url, proxy, timeout) in [
        (
            "http://127.0.0.1:1/x?service=git-upload-pack".to_owned(),
            String::new(),
            0,
        ),
        ("https://127.0.0.1:1/x".to_owned(), String::new(), 0),
        ("http://[::1]:1/".to_owned(), String::new(), 0),
        (format!("http://{silent}/"), String::new(), 200),
        (format!("http://{closing}/"), String::new(), 0),
        (format!("https://{hanging_up}/"), String::new(), 0),
        (format!("https://127.0.0.1:{plain_port}/"), String::new(), 0),
        (tls.url("x"), String::new(), 0),
        (format!("https://{alert}/"), String::new(), 0),
        (plain.url("x"), "http://127.0.0.1:1".to_owned(), 0),
        (tls.url("x"), "http://127.0.0.1:1".to_owned(), 0),
        (tls.url("x"), format!("http://{refusing}"), 0),
        ("ftp://127.0.0.1/x".to_owned(), String::new(), 0),
    ] {
        let (theirs, ours) = both(&mut go, &url, &proxy, timeout).await;
        assert_eq!(ours, theirs, "{url} {proxy}");
    }
    // Go's handshake timeout is ten seconds; its text is known.
    let impatient = ClientOptions {
        connect_timeout: Duration::from_millis(200),
        ..direct()
    };
    let request = impatient.build().unwrap().get(format!("https://{silent}/"));
    assert_eq!(
        send(request, Repeat::Never).await.unwrap_err().to_string(),
        format!("Get \"https://{silent}/\": net/http: TLS handshake timeout")
    );
    // For a relative redirect Go shows what the server sent, ours the requested address.
    let url = plain.url("loop/x");
    let (theirs, ours) = both(&mut go, &url, "", 0).await;
    assert_eq!(ours, theirs.replace("/loop/x", &url));
    // Go shows the bytes of an invalid response; they may be anything, so ours does not.
    let (theirs, ours) = both(&mut go, &format!("http://{stale}/"), "", 0).await;
    assert!(
        theirs.starts_with(&ours) && ours.ends_with("malformed HTTP response"),
        "{ours}\n{theirs}"
    );
    // The name server depends on the machine; one without any says so.
    let (theirs, ours) = both(&mut go, "https://no-such-host.invalid/x", "", 0).await;
    for text in [&theirs, &ours] {
        assert!(
            text.starts_with(
                "Get \"https://no-such-host.invalid/x\": dial tcp: lookup no-such-host.invalid"
            ),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_truncated_body_is_an_error() {
    let address = server(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok");
    });
    let client = direct().build().unwrap();
    let answer = send(client.get(format!("http://{address}/")), Repeat::Idempotent)
        .await
        .unwrap();
    let error = read_body(answer, 100).await.unwrap_err();
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "unexpected EOF"
    );
}

/// A connection with unread bytes is reset when it is closed.
#[tokio::test]
async fn a_broken_body_is_an_error_at_its_address() {
    let (close, closed) = std::sync::mpsc::channel::<()>();
    let closed = std::sync::Mutex::new(closed);
    let address = server(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok");
        let _ = closed.lock().unwrap().recv();
    });
    let client = direct().build().unwrap();
    let request = client.post(format!("http://{address}/")).body("unread");
    let answer = send(request, Repeat::Never).await.unwrap();
    drop(close);
    let error = read_body(answer, 100).await.unwrap_err();
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        format!("read tcp {address}: read: connection reset by peer")
    );
}

// SC-GIT-053, SC-GIT-054
#[tokio::test]
async fn no_error_shows_a_secret() {
    let mut options = direct();
    let mut shown = Vec::new();
    for (url, proxy) in [
        ("http://u:S3CRET@127.0.0.1:1/?token=S3CRET", ""),
        ("https://u:S3CRET@127.0.0.1:1/?S3CRET", ""),
        ("http://u:S3CRET@no-such-host.invalid/", ""),
        ("ftp://u:S3CRET@h/?sig=S3CRET", ""),
        ("http://u:S3CRET@[::1/", ""),
        ("http://127.0.0.1:2/", "http://u:S3CRET@127.0.0.1:1"),
        ("https://127.0.0.1:2/", "socks5://u:S3CRET@127.0.0.1:1"),
    ] {
        if !proxy.is_empty() {
            options.proxy = Proxy::Url(ProxyUrl::parse(proxy).unwrap());
        }
        let client = options.build().unwrap();
        let request = client.get(url).bearer_auth("S3CRET");
        let error = send(request, Repeat::Idempotent).await.unwrap_err();
        shown.push(format!("{error} {error:?} {options:?}"));
    }
    let broken = direct().build().unwrap().get("http://127.0.0.1:1/");
    let broken = broken.header("x", "S3CRET\n");
    let error = send(broken, Repeat::Idempotent).await.unwrap_err();
    shown.push(format!("{error} {error:?}"));
    for text in shown {
        assert!(!text.contains("S3CRET"), "{text}");
    }
}
