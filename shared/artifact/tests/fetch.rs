//! Downloads from a server that misbehaves in every way, and the cache behind them.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::State, http::Response};
use flux_artifact::{Algorithm, Digest, FetchError, FetchOptions, Fetcher, TreeCache, pack_tree};
use flux_tree::{Tree, TreePath};
use tokio::{net::TcpListener, sync::Barrier};

/// A server that gives its answers one after the other, and then 404.
struct Server {
    url: String,
    asked: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Answers(Arc<Mutex<Left>>, Arc<AtomicUsize>);

/// The statuses and bodies still to be given.
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
    Fetcher::new(client, options)
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

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

// RT-ART-016 RT-ART-017 RT-ART-018 SC-ART-056
#[tokio::test]
async fn answers_of_the_server() {
    let (packed, digest) = archive();
    let other = Algorithm::Sha256.digest(b"other");
    let good = || (200, packed.clone());
    let text = |text: &str| (200, text.as_bytes().to_vec());
    for (note, answers, digest, asked, want) in [
        ("at once", vec![good()], &digest, 1, Ok(())),
        (
            "after passing failures",
            vec![(503, vec![]), (429, vec![]), good()],
            &digest,
            3,
            Ok(()),
        ),
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
async fn what_is_verified_may_still_be_no_archive() {
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
async fn bounds() {
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

// SC-ART-056
#[tokio::test]
async fn the_host_may_be_replaced() {
    let (packed, digest) = archive();
    let server = Server::giving(vec![(200, packed)]).await;
    let options = FetchOptions {
        host: Some(
            server
                .url
                .strip_prefix("http://")
                .unwrap()
                .strip_suffix("/a.tar.gz")
                .unwrap()
                .to_owned(),
        ),
        ..impatient()
    };
    let url = "http://source-controller.flux-system.svc.cluster.local./a.tar.gz";
    assert_eq!(
        fetcher(options).fetch(url, &digest).await.unwrap(),
        tree(10)
    );
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a", listener.local_addr().unwrap());
    drop(listener);
    let error = fetcher(impatient())
        .fetch(&url, &Algorithm::Sha256.digest(b""))
        .await
        .unwrap_err();
    let want = format!("failed to download archive: GET {url} giving up after 3 attempt(s): ");
    assert!(chain(&error).starts_with(&want), "{}", chain(&error));
}

// RT-ART-008 RT-ART-017
#[test]
fn digests_of_a_status() {
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

fn digest(name: &str) -> Digest {
    Algorithm::Sha256.digest(name.as_bytes())
}

#[tokio::test]
async fn a_tree_is_loaded_once() {
    let cache = Arc::new(TreeCache::new(1 << 20));
    let loads = Arc::new(AtomicUsize::new(0));
    let barrier = Arc::new(Barrier::new(8));
    let asking = (0..8).map(|_| {
        let (cache, loads, barrier) = (cache.clone(), loads.clone(), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            let load = || async {
                loads.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok::<_, FetchError>(tree(10))
            };
            cache.get(&digest("a"), load).await.unwrap()
        })
    });
    let trees = futures::future::join_all(asking.collect::<Vec<_>>()).await;
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    let first = trees[0].as_ref().unwrap();
    assert!(
        trees
            .iter()
            .all(|tree| Arc::ptr_eq(tree.as_ref().unwrap(), first))
    );
}

#[tokio::test]
async fn a_failed_load_is_tried_by_the_next_one() {
    let cache = TreeCache::new(1 << 20);
    let failed = cache
        .get(&digest("a"), || async { Err(FetchError::NotFound) })
        .await;
    assert!(matches!(failed, Err(FetchError::NotFound)));
    let loaded = cache
        .get(&digest("a"), || async { Ok::<_, FetchError>(tree(10)) })
        .await
        .unwrap();
    assert_eq!(*loaded, tree(10));
}

#[tokio::test]
async fn the_least_asked_for_goes_first() {
    let cache = TreeCache::new(25_000);
    let load = |name: &'static str, size: usize| {
        let cache = &cache;
        async move {
            let mut loaded = false;
            let load = || {
                loaded = true;
                async move { Ok::<_, FetchError>(tree(size)) }
            };
            let tree = cache.get(&digest(name), load).await.unwrap();
            (tree, loaded)
        }
    };
    assert!(load("a", 9_000).await.1);
    assert!(load("b", 9_000).await.1);
    assert!(!load("a", 9_000).await.1);
    assert!(load("c", 9_000).await.1);
    assert!(cache.bytes() <= 25_000);
    assert!(!load("a", 9_000).await.1);
    assert!(load("b", 9_000).await.1, "b was given up for c");
    let (held, _) = load("huge", 30_000).await;
    assert!(cache.bytes() <= 25_000, "what is too large is not kept");
    assert!(
        !load("huge", 30_000).await.1,
        "but found as long as someone holds it"
    );
    drop(held);
    assert!(load("huge", 30_000).await.1);
}
