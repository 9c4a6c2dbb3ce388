//! Values by digest, and which callers wait for which load.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flux_artifact::{Algorithm, Digest, DigestCache, FetchError};
use flux_budget::Budget;
use flux_tree::{Tree, TreePath};
use futures::future::join_all;
use tokio::sync::{Barrier, oneshot};

const URL: &str = "http://one/a.tar.gz";
/// A load of any kind.
type Load = std::pin::Pin<Box<dyn Future<Output = Result<Tree, FetchError>> + Send>>;

const OTHER: &str = "http://other/a.tar.gz";

fn cache(limit: u64) -> DigestCache<Tree> {
    DigestCache::new(&Budget::unlimited(), limit, Tree::memory)
}

fn digest(name: &str) -> Digest {
    Algorithm::Sha256.digest(name.as_bytes())
}

fn tree(size: usize) -> Tree {
    let mut tree = Tree::new();
    tree.insert_file(TreePath::new("a/b").unwrap(), "x".repeat(size), true)
        .unwrap();
    tree
}

#[tokio::test]
async fn a_tree_is_loaded_once() {
    let cache = cache(1 << 20);
    let loads = Arc::new(AtomicUsize::new(0));
    let barrier = Arc::new(Barrier::new(8));
    let asking = (0..8).map(|_| {
        let (cache, loads, barrier) = (cache.clone(), loads.clone(), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            let load = move || {
                loads.fetch_add(1, Ordering::SeqCst);
                async {
                    tokio::task::yield_now().await;
                    Ok(tree(10))
                }
            };
            cache.get(URL, &digest("a"), load).await.unwrap()
        })
    });
    let trees = join_all(asking.collect::<Vec<_>>()).await;
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    let first = trees[0].as_ref().unwrap();
    assert!(
        trees
            .iter()
            .all(|tree| Arc::ptr_eq(tree.as_ref().unwrap(), first))
    );
}

#[tokio::test]
async fn a_failed_load_fails_all_waiters_and_is_retried_by_the_next_caller() {
    let cache = cache(1 << 20);
    let (digest_a, digest_b) = (digest("a"), digest("b"));
    let failing = || {
        cache.get(URL, &digest_a, || async {
            tokio::task::yield_now().await;
            Err(FetchError::NotFound)
        })
    };
    let (one, two) = tokio::join!(failing(), failing());
    assert!(matches!(*one.unwrap_err(), FetchError::NotFound));
    assert!(matches!(*two.unwrap_err(), FetchError::NotFound));
    let loaded = cache.get(URL, &digest_a, || async { Ok(tree(10)) }).await;
    assert_eq!(*loaded.unwrap(), tree(10));
    let other = cache.get(URL, &digest_b, || async { Ok(tree(20)) }).await;
    assert_eq!(*other.unwrap(), tree(20), "of one URL, another digest");
}

#[tokio::test]
async fn a_hanging_server_only_delays_its_own_callers() {
    let cache = cache(1 << 20);
    let (asked, hangs) = oneshot::channel();
    let hanging = tokio::spawn({
        let (cache, asked) = (cache.clone(), std::sync::Mutex::new(Some(asked)));
        async move {
            let load = move || {
                let _ = asked.lock().unwrap().take().map(|asked| asked.send(()));
                pending()
            };
            cache.get(URL, &digest("a"), load).await
        }
    });
    hangs.await.unwrap();
    let wanted = digest("a");
    let loaded = cache.get(OTHER, &wanted, || async { Ok(tree(10)) });
    assert_eq!(*loaded.await.unwrap(), tree(10));
    // The loaded value serves the callers that still wait for the other server.
    assert_eq!(*hanging.await.unwrap().unwrap(), tree(10));
}

#[tokio::test]
async fn a_load_is_cancelled_without_waiters() {
    /// Reports that it was dropped.
    struct Told(Option<oneshot::Sender<()>>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.take().map(|gone| gone.send(()));
        }
    }
    let cache = cache(1 << 20);
    let (gone, is_gone) = oneshot::channel();
    let told = std::sync::Mutex::new(Some(Told(Some(gone))));
    let waits = |load: Box<dyn Fn() -> Load + Send>| {
        let cache = cache.clone();
        async move { cache.get(URL, &digest("a"), load).await }
    };
    let (begun, has_begun) = oneshot::channel();
    let begun = std::sync::Mutex::new(Some(begun));
    let first = tokio::spawn(waits(Box::new(move || {
        let told = told.lock().unwrap().take();
        let _ = begun.lock().unwrap().take().map(|begun| begun.send(()));
        Box::pin(async move {
            let _told = told;
            pending().await
        })
    })));
    has_begun.await.unwrap();
    let mut second = Box::pin(waits(Box::new(|| unreachable!("the load is shared"))));
    assert!(futures::poll!(second.as_mut()).is_pending());
    first.abort();
    let _ = first.await;
    assert!(
        futures::poll!(second.as_mut()).is_pending(),
        "one waits still"
    );
    drop(second);
    is_gone.await.unwrap();
    // The next call starts a new load.
    let loaded = cache
        .get(URL, &digest("a"), || async { Ok(tree(10)) })
        .await;
    assert_eq!(*loaded.unwrap(), tree(10));
}

#[tokio::test]
async fn the_least_recently_used_tree_is_evicted_first() {
    let cache = cache(20_000);
    let load = |name: &'static str, size: usize| {
        let cache = &cache;
        async move {
            let loads = Arc::new(AtomicUsize::new(0));
            let counted = loads.clone();
            let load = move || {
                counted.fetch_add(1, Ordering::SeqCst);
                async move { Ok(tree(size)) }
            };
            let tree = cache.get(URL, &digest(name), load).await.unwrap();
            (tree, loads.load(Ordering::SeqCst) == 1)
        }
    };
    assert!(load("a", 9_000).await.1);
    assert!(load("b", 9_000).await.1);
    assert!(!load("a", 9_000).await.1);
    assert!(load("c", 9_000).await.1);
    assert!(cache.bytes() <= 20_000);
    assert!(!load("a", 9_000).await.1);
    assert!(load("b", 9_000).await.1, "b was given up for c");
    let (held, _) = load("huge", 30_000).await;
    assert!(cache.bytes() <= 20_000, "what is too large is not kept");
    assert!(
        !load("huge", 30_000).await.1,
        "but found as long as someone holds it"
    );
    drop(held);
    assert!(load("huge", 30_000).await.1);
}

/// Claims `size` bytes of the budget for a tree.
fn claiming(
    budget: &Budget,
    size: u64,
) -> impl FnOnce() -> futures::future::Ready<Result<Tree, FetchError>> {
    let budget = budget.clone();
    move || {
        let claim = budget.claim();
        let taken = claim.take(size).map_err(FetchError::Memory);
        futures::future::ready(taken.map(|()| tree(10).holding(claim)))
    }
}

#[tokio::test]
async fn unused_trees_are_evicted_for_requested_ones() {
    let budget = Budget::new(100);
    let cache = DigestCache::new(&budget, 1 << 20, Tree::memory);
    let get = |name: &'static str, size| {
        let (cache, load) = (&cache, claiming(&budget, size));
        async move { cache.get(URL, &digest(name), load).await }
    };
    drop(get("a", 60).await.unwrap());
    assert_eq!(budget.used(), 60, "a tree that is kept holds its memory");
    let used = get("b", 70).await.unwrap();
    assert_eq!(budget.used(), 70, "a was given up");
    let error = get("c", 40).await.unwrap_err();
    let FetchError::Memory(exhausted) = &*error else {
        panic!("{error}")
    };
    assert!(!exhausted.is_too_large(), "b is in use");
    drop(used);
    get("c", 40).await.unwrap();
    let error = get("d", 101).await.unwrap_err();
    assert!(matches!(&*error, FetchError::Memory(exhausted) if exhausted.is_too_large()));
}

#[tokio::test]
async fn values_and_errors_are_of_any_type() {
    let cache: DigestCache<String, std::fmt::Error> =
        DigestCache::new(&Budget::unlimited(), 10, |text| text.len() as u64);
    let get = |name: &'static str| {
        let load = move || futures::future::ready(Ok(name.to_owned()));
        let cache = cache.clone();
        async move { cache.get(URL, &digest(name), load).await }
    };
    assert_eq!(*get("parsed").await.unwrap(), "parsed");
    assert_eq!(cache.bytes(), 6);
    get("another").await.unwrap();
    assert_eq!(cache.bytes(), 7, "the first one had to go");
    let bad = digest("bad");
    let failed = cache.get(URL, &bad, || futures::future::ready(Err(std::fmt::Error)));
    assert_eq!(*failed.await.unwrap_err(), std::fmt::Error);
}

#[tokio::test]
async fn a_new_artifact_replaces_the_one_before_of_its_source() {
    const APP: &str = "http://source-controller/gitrepository/apps/app/1.tar.gz";
    const NEXT: &str = "http://source-controller/gitrepository/apps/app/2.tar.gz";
    let cache = cache(1 << 20);
    let load = async |url: &str, name: &str| {
        let load = async || Ok(tree(10));
        cache.get(url, &digest(name), load).await.unwrap()
    };
    let is_cached = async |name: &str| {
        let load = || std::future::ready(Err(FetchError::NotFound));
        cache.get(OTHER, &digest(name), load).await.is_ok()
    };
    load(
        "http://source-controller/gitrepository/apps/other/1.tar.gz",
        "other",
    )
    .await;
    let first = load(APP, "first").await;
    load(NEXT, "second").await;
    assert!(is_cached("first").await, "it is in use");
    drop(first);
    assert!(!is_cached("first").await);
    assert!(is_cached("second").await && is_cached("other").await);
    // The layout of another server is unknown.
    load("http://artifacts/all/of/them/a.tar.gz", "a").await;
    load("http://artifacts/all/of/them/b.tar.gz", "b").await;
    assert!(is_cached("a").await && is_cached("b").await);
}
