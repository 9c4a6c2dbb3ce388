//! Downloads from a server that misbehaves in every way.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use flux_artifact::{
    Algorithm, Digest, FetchError, FetchOptions, Fetcher, TransferError, pack_tree,
};
use flux_budget::Budget;
use flux_errors::chain;
use flux_tree::{Tree, TreePath};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A server that sends these responses in order, and then 404.
struct Server {
    url: String,
    asked: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Answers(Arc<Mutex<Left>>, Arc<AtomicUsize>);

/// The statuses and bodies still to be sent.
type Left = VecDeque<(u16, Vec<u8>)>;

impl Server {
    async fn giving(answers: Vec<(u16, Vec<u8>)>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let asked = Arc::new(AtomicUsize::new(0));
        let answers = Answers(Arc::new(Mutex::new(answers.into())), asked.clone());
        let answer = |State(answers): State<Answers>| async move {
            answers.1.fetch_add(1, Ordering::SeqCst);
            let next = answers.0.lock().unwrap().pop_front();
            let (status, body) = next.unwrap_or((404, Vec::new()));
            Response::builder()
                .status(status)
                .body(Body::from(body))
                .unwrap()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/a.tar.gz", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(answers);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn fetcher(options: FetchOptions) -> Fetcher {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    Fetcher::new(client, options, Budget::unlimited())
}

fn impatient() -> FetchOptions {
    FetchOptions {
        retries: 2,
        min_wait: Duration::from_millis(1),
        max_wait: Duration::from_millis(2),
        ..FetchOptions::default()
    }
}

fn tree(size: usize) -> Tree {
    let mut tree = Tree::new();
    tree.insert_file(TreePath::new("a/b").unwrap(), "x".repeat(size), true)
        .unwrap();
    tree
}

fn archive() -> (Vec<u8>, Digest) {
    let packed = pack_tree(&tree(10), |_, _| false, Vec::new()).unwrap();
    let digest = Algorithm::Blake3.digest(&packed);
    (packed, digest)
}

// HC-CHART-021
#[test]
fn waits_between_attempts_match_upstream() {
    let FetchOptions {
        min_wait, max_wait, ..
    } = FetchOptions::default();
    assert_eq!((min_wait.as_secs(), max_wait.as_secs()), (5, 30));
}

// RT-ART-018
#[tokio::test]
async fn http_responses_are_retried_or_reported() {
    let (packed, digest) = archive();
    let other = Algorithm::Sha256.digest(b"other");
    let good = || (200, packed.clone());
    let text = |text: &str| (200, text.as_bytes().to_vec());
    for (note, answers, digest, asked, want) in [
        ("at once", vec![good()], &digest, 1, Ok(())),
        // RT-ART-016, HC-CHART-021
        (
            "after passing failures",
            vec![(503, vec![]), (429, vec![]), good()],
            &digest,
            3,
            Ok(()),
        ),
        // SC-ART-056
        (
            "not there",
            vec![(404, vec![]), good()],
            &digest,
            1,
            Err("file not found"),
        ),
        (
            "failing for good",
            vec![(500, vec![]), (502, vec![]), (503, vec![]), good()],
            &digest,
            3,
            Err("failed to download archive: GET <url> giving up after 3 attempt(s)"),
        ),
        (
            "refused",
            vec![(403, vec![])],
            &digest,
            1,
            Err("failed to download archive from <url> (status: 403 Forbidden)"),
        ),
        (
            "not implemented",
            vec![(501, vec![])],
            &digest,
            1,
            Err("failed to download archive from <url> (status: 501 Not Implemented)"),
        ),
        // RT-ART-017
        (
            "other bytes",
            vec![good()],
            &other,
            1,
            Err(
                "failed to verify archive: computed digest doesn't match provided 'sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa' (check whether file size exceeds max download size)",
            ),
        ),
        (
            "other bytes that are no archive",
            vec![text("<html>")],
            &digest,
            1,
            Err(
                "failed to verify archive: computed digest doesn't match provided '<digest>' (check whether file size exceeds max download size)",
            ),
        ),
    ] {
        let server = Server::giving(answers).await;
        let found = fetcher(impatient()).fetch(&server.url, digest).await;
        let want = want.map_err(|text| {
            text.replace("<url>", &server.url)
                .replace("<digest>", &digest.to_string())
        });
        assert_eq!(
            found
                .map(|found| assert_eq!(found, tree(10)))
                .map_err(|error| chain(&error)),
            want,
            "{note}"
        );
        assert_eq!(server.asked(), asked, "{note}");
    }
}

#[tokio::test]
async fn verified_content_may_be_an_invalid_archive() {
    let server = Server::giving(vec![(200, b"plain".to_vec()), (200, vec![])]).await;
    for content in [&b"plain"[..], b""] {
        let digest = Algorithm::Sha256.digest(content);
        let error = fetcher(impatient())
            .fetch(&server.url, &digest)
            .await
            .unwrap_err();
        let text = chain(&error);
        let want = "failed to extract archive (check whether file size exceeds max download size): requires gzip-compressed body: ";
        assert!(text.starts_with(want), "{text}");
    }
}

#[tokio::test]
async fn downloads_are_bounded_in_size() {
    let (packed, digest) = archive();
    let server = Server::giving(vec![(200, packed.clone()), (200, packed)]).await;
    let mut options = impatient();
    options.max_download = 20;
    let error = fetcher(options.clone())
        .fetch(&server.url, &digest)
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::TooLarge(20)));
    options.max_download = 1 << 20;
    options.extract.max_bytes = 512;
    let error = fetcher(options)
        .fetch(&server.url, &digest)
        .await
        .unwrap_err();
    assert!(
        chain(&error).ends_with("tar is bigger than max archive size of 512 bytes"),
        "{error}"
    );
}

// RT-ART-017
#[tokio::test]
async fn the_bytes_of_a_file_are_verified_and_claimed() {
    let (packed, digest) = archive();
    let answers = vec![(200, packed.clone()); 3];
    let server = Server::giving(answers).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let budget = Budget::new(2 * packed.len() as u64);
    let fetcher = Fetcher::new(client, impatient(), budget.clone());
    let other = Algorithm::Sha256.digest(b"other");
    let refused = fetcher.fetch_bytes(&server.url, &other).await.unwrap_err();
    assert!(matches!(refused, FetchError::Digest(_)), "{refused}");
    assert_eq!(budget.used(), 0);
    let bytes = fetcher.fetch_bytes(&server.url, &digest).await.unwrap();
    assert_eq!(**bytes, packed);
    assert_eq!(budget.used(), packed.len() as u64);
    let full = fetcher.fetch_bytes(&server.url, &digest).await.unwrap_err();
    assert!(matches!(full, FetchError::Memory(_)), "{full}");
    drop(bytes);
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn no_bytes_beyond_the_limit_are_read() {
    let (packed, digest) = archive();
    let server = Server::giving(vec![(200, packed)]).await;
    let options = FetchOptions {
        max_download: 10,
        ..impatient()
    };
    let refused = fetcher(options).fetch_bytes(&server.url, &digest).await;
    assert!(matches!(refused, Err(FetchError::TooLarge(10))));
}

#[tokio::test]
async fn an_unreachable_server_is_reported() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a", listener.local_addr().unwrap());
    drop(listener);
    let error = fetcher(impatient())
        .fetch(&url, &Algorithm::Sha256.digest(b""))
        .await
        .unwrap_err();
    // RT-ART-016
    let address = url.trim_start_matches("http://").trim_end_matches("/a");
    let want = format!(
        "failed to download archive: GET {url} giving up after 3 attempt(s): Get \"{url}\": dial tcp {address}: connect: connection refused"
    );
    assert_eq!(chain(&error), want);
}

// RT-ART-008 RT-ART-017
#[test]
fn status_digests_are_parsed() {
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(
        Fetcher::digest(hex).unwrap().to_string(),
        format!("sha256:{hex}")
    );
    assert_eq!(Fetcher::digest("").unwrap_err().to_string(), "empty digest");
    assert_eq!(
        chain(&Fetcher::digest("md5:0").unwrap_err()),
        "failed to parse digest 'md5:0': unsupported digest algorithm: md5"
    );
}

/// A server that sends `answer` to the first request and then nothing, and signals when it got a request and when the
/// client is gone.
async fn silent(
    answer: &'static [u8],
) -> (String, oneshot::Receiver<()>, tokio::task::JoinHandle<()>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a.tar.gz", listener.local_addr().unwrap());
    let (tell, asked) = oneshot::channel();
    let gone = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await.unwrap();
        stream.write_all(answer).await.unwrap();
        let _ = tell.send(());
        while stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
    });
    (url, asked, gone)
}

const SILENCES: [&[u8]; 3] = [
    b"",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789",
];

#[tokio::test]
async fn a_stalled_download_times_out() {
    let options = FetchOptions {
        retries: 0,
        stall: Duration::from_millis(50),
        ..FetchOptions::default()
    };
    for answer in SILENCES {
        let (url, _asked, gone) = silent(answer).await;
        let digest = Algorithm::Sha256.digest(b"");
        let error = fetcher(options.clone()).fetch(&url, &digest).await;
        let text = chain(&error.unwrap_err());
        let want = if answer.is_empty() {
            format!("failed to download archive: GET {url} giving up after 1 attempt(s)")
        } else {
            "failed to copy temp contents".to_owned()
        };
        assert_eq!(text, format!("{want}: no data from the server for 50ms"));
        gone.await.unwrap();
    }
}

#[tokio::test]
async fn dropping_a_fetch_cancels_its_request() {
    for answer in SILENCES {
        let (url, asked, gone) = silent(answer).await;
        let fetching = tokio::spawn(async move {
            let digest = Algorithm::Sha256.digest(b"");
            fetcher(FetchOptions::default()).fetch(&url, &digest).await
        });
        asked.await.unwrap();
        fetching.abort();
        assert!(fetching.await.unwrap_err().is_cancelled());
        gone.await.unwrap();
    }
}

// SC-ART-093
#[tokio::test]
async fn out_of_budget_is_distinguished_from_an_invalid_archive() {
    let packed = pack_tree(&tree(3 << 20), |_, _| false, Vec::new()).unwrap();
    let digest = Algorithm::Sha256.digest(&packed);
    let server = Server::giving(vec![(200, packed.clone()), (200, packed)]).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let budget = Budget::new(6 << 20);
    let fetcher = Fetcher::new(client, impatient(), budget.clone());
    let held = fetcher.fetch(&server.url, &digest).await.unwrap();
    assert!(budget.used() >= 3 << 20, "the tree holds its memory");
    let error = fetcher.fetch(&server.url, &digest).await.unwrap_err();
    let text = chain(&error);
    let want = "failed to extract archive: not enough memory: ";
    assert!(text.starts_with(want), "{text}");
    assert!(matches!(error, FetchError::Memory(exhausted) if !exhausted.is_too_large()));
    drop(held);
    assert_eq!(budget.used(), 0);
}

// FR-H-037: a drip of bytes is no way around the timeout
#[tokio::test]
async fn a_very_slow_download_times_out() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a.tar.gz", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let mut every = tokio::time::interval(Duration::from_millis(10));
        while stream.write_all(b"x").await.is_ok() {
            every.tick().await;
        }
    });
    let options = FetchOptions {
        stall: Duration::from_millis(200),
        ..impatient()
    };
    let digest = Algorithm::Sha256.digest(b"");
    let error = fetcher(options).fetch(&url, &digest).await.unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Body(TransferError::Slow { .. } | TransferError::Stalled(_))
        ),
        "{error}"
    );
}
