//! Artifacts for their consumers: from a server, or from this process's own storage.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use flux_artifact::{
    Algorithm, Artifacts, FetchError, FetchOptions, Hosts, Location, Retention, Storage, pack_tree,
};
use flux_budget::Budget;
use flux_tree::{Tree, TreePath};
use futures::future::join_all;
use tokio::net::TcpListener;

/// A server that has one file, and counts its requests.
struct Server {
    host: String,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn having(path: &'static str, file: Vec<u8>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let answer = move |uri: axum::http::Uri| {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = if uri.path() == path {
                (StatusCode::OK, file.clone())
            } else {
                (StatusCode::NOT_FOUND, Vec::new())
            };
            async move { answer }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { host, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

const PATH: &str = "gitrepository/ns/app/a.tar.gz";

fn tree() -> Tree {
    let mut tree = Tree::new();
    let path = TreePath::new("web.yaml").unwrap();
    tree.insert_file(path, "kind: Service", false).unwrap();
    tree
}

fn archive() -> (Vec<u8>, String) {
    let packed = pack_tree(&tree(), |_, _| false, Vec::new()).unwrap();
    let digest = Algorithm::Sha256.digest(&packed).to_string();
    (packed, digest)
}

fn artifacts(hosts: Hosts, budget: &Budget) -> Artifacts {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let options = FetchOptions {
        retries: 0,
        min_wait: Duration::from_millis(1),
        ..FetchOptions::default()
    };
    Artifacts::new(client, options, hosts, budget)
}

// SC-ART-056, KC-PROC-043
#[tokio::test]
async fn each_controller_has_its_own_artifact_host() {
    let (packed, digest) = archive();
    let sources = Server::having("/a.tar.gz", packed.clone()).await;
    let watcher = Server::having("/b.tar.gz", packed).await;
    let hosts = Hosts {
        source_controller: Some(sources.host.clone()),
        source_watcher: Some(watcher.host.clone()),
    };
    for (url, want) in [
        ("http://source-controller.ns.svc./a.tar.gz", (1, 0)),
        ("http://source-watcher.ns.svc./b.tar.gz", (1, 1)),
    ] {
        let artifacts = artifacts(hosts.clone(), &Budget::unlimited());
        let at = Location {
            url,
            path: "",
            digest: &digest,
        };
        assert_eq!(*artifacts.tree(at).await.unwrap(), tree());
        assert_eq!((sources.asked(), watcher.asked()), want, "{url}");
    }
}

#[tokio::test]
async fn an_artifact_is_downloaded_once_and_cached() {
    let (packed, digest) = archive();
    let server = Server::having("/a.tar.gz", packed.clone()).await;
    let budget = Budget::new(10 << 20);
    let artifacts = artifacts(Hosts::default(), &budget);
    let url = format!("http://{}/a.tar.gz", server.host);
    let at = Location {
        url: &url,
        path: "",
        digest: &digest,
    };
    let trees = join_all((0..4).map(|_| artifacts.tree(at))).await;
    assert!(trees.into_iter().all(|found| *found.unwrap() == tree()));
    artifacts.clone().tree(at).await.unwrap();
    assert_eq!(server.asked(), 1, "a clone shares what is kept");
    let before = budget.used();
    assert!(before > 0);

    let files = join_all((0..4).map(|_| artifacts.bytes(at))).await;
    assert_eq!(server.asked(), 2);
    assert!(files.iter().all(|file| ***file.as_ref().unwrap() == packed));
    artifacts.bytes(at).await.unwrap();
    assert_eq!(server.asked(), 2, "a file in use is shared");
    drop(files);
    assert_eq!(budget.used(), before, "and not kept after that");
}

#[tokio::test]
async fn cached_trees_are_evicted_for_a_run() {
    let (packed, digest) = archive();
    let server = Server::having("/a.tar.gz", packed).await;
    let budget = Budget::new(1 << 20);
    let artifacts = artifacts(Hosts::default(), &budget);
    let url = format!("http://{}/a.tar.gz", server.host);
    let at = Location {
        url: &url,
        path: "",
        digest: &digest,
    };
    drop(artifacts.tree(at).await.unwrap());
    assert!(budget.used() > 0);
    budget.claim().take(1 << 20).unwrap();
    assert_eq!(budget.used(), 0);
    artifacts.tree(at).await.unwrap();
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn artifacts_in_local_storage_are_read_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (packed, digest) = archive();
    let server = Server::having("/other.tar.gz", packed.clone()).await;
    let retention = Retention::default();
    let storage = Storage::open(folder.path(), &*server.host, Algorithm::Sha256, retention);
    let storage = Arc::new(storage.unwrap());
    storage.make_dir(PATH).unwrap();
    let file = storage.locate(PATH).unwrap();
    std::fs::write(&file, &packed).unwrap();

    let own = storage.url(PATH);
    let artifacts = artifacts(Hosts::default(), &Budget::unlimited()).with_storage(storage);
    let at = |digest| Location {
        url: &own,
        path: PATH,
        digest,
    };
    let bytes = artifacts.bytes(at(&digest)).await.unwrap();
    assert_eq!(**bytes, packed);
    drop(bytes);
    assert_eq!(*artifacts.tree(at(&digest)).await.unwrap(), tree());

    let other = Algorithm::Sha256.digest(b"other").to_string();
    for error in [
        artifacts.tree(at(&other)).await.unwrap_err(),
        artifacts.bytes(at(&other)).await.unwrap_err(),
    ] {
        assert!(matches!(*error, FetchError::Digest(_)), "{error}");
    }
    std::fs::remove_file(file).unwrap();
    let gone = artifacts.bytes(at(&digest)).await.unwrap_err();
    assert!(matches!(*gone, FetchError::NotFound), "{gone}");
    assert_eq!(server.asked(), 0);

    let elsewhere = format!("http://{}/other.tar.gz", server.host);
    let at = Location {
        url: &elsewhere,
        path: PATH,
        digest: &digest,
    };
    assert_eq!(**artifacts.bytes(at).await.unwrap(), packed);
    assert_eq!(server.asked(), 1, "the path alone says nothing");
}

#[tokio::test]
async fn a_status_without_a_digest_is_an_error() {
    let artifacts = artifacts(Hosts::default(), &Budget::unlimited());
    let at = Location {
        url: "http://127.0.0.1:1/a",
        path: "a",
        digest: "",
    };
    let error = artifacts.tree(at).await.unwrap_err();
    assert!(matches!(*error, FetchError::Digest(_)), "{error}");
}
