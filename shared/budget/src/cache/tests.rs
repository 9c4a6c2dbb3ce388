//! Tests of caches that evict for claims.

use super::*;
use crate::Claim;

/// A value that holds `bytes` of the budget.
fn holding(budget: &Budget, bytes: u64) -> Arc<Claim> {
    let claim = budget.claim();
    claim.take(bytes).unwrap();
    Arc::new(claim)
}

fn has(cache: &Cache<&'static str, Claim>, key: &'static str) -> bool {
    cache.get(&key).is_some()
}

#[test]
fn the_least_recently_used_value_is_evicted() {
    let budget = Budget::new(1000);
    let cache = Cache::new(&budget, 100);
    for key in ["a", "b"] {
        cache.insert(key, holding(&budget, 40), 40);
    }
    assert!(has(&cache, "a"));
    cache.insert("c", holding(&budget, 40), 40);
    assert!(has(&cache, "a") && !has(&cache, "b") && has(&cache, "c"));
    assert_eq!((cache.bytes(), cache.len(), budget.used()), (80, 2, 80));
    cache.remove(&"a");
    assert!(!has(&cache, "a"));
    assert_eq!(budget.used(), 40);
}

#[test]
fn an_evicted_value_in_use_is_still_found() {
    let budget = Budget::new(1000);
    let cache = Cache::new(&budget, 100);
    let large = holding(&budget, 101);
    cache.insert("large", large.clone(), 101);
    assert_eq!(cache.len(), 0, "it is not kept");
    assert!(has(&cache, "large"));
    let pushed_out = holding(&budget, 60);
    cache.insert("a", pushed_out.clone(), 60);
    cache.insert("b", holding(&budget, 60), 60);
    assert!(has(&cache, "a"));
    drop((large, pushed_out));
    assert!(!has(&cache, "large") && !has(&cache, "a"));
    assert_eq!(budget.used(), 60);
}

#[test]
fn a_new_value_replaces_the_old_one_also_where_that_is_in_use() {
    let budget = Budget::new(1000);
    let cache = Cache::new(&budget, 100);
    let old = holding(&budget, 10);
    cache.insert("a", old.clone(), 10);
    cache.insert("a", holding(&budget, 200), 200);
    assert!(
        !has(&cache, "a"),
        "the new one is too large, the old one is outdated"
    );
    cache.insert("b", old.clone(), 10);
    cache.remove(&"b");
    assert!(!has(&cache, "b"));
}

#[test]
fn idle_values_make_room_for_a_claim() {
    let budget = Budget::new(100);
    let cache = Cache::new(&budget, 100);
    let used = holding(&budget, 30);
    cache.insert("used", used.clone(), 30);
    for key in ["a", "b"] {
        cache.insert(key, holding(&budget, 30), 30);
    }
    let run = budget.claim();
    run.take(20).unwrap();
    assert!(!has(&cache, "a"), "the oldest that is not in use goes");
    assert!(has(&cache, "b"), "and no more than what is needed");
    run.take(50).unwrap();
    assert_eq!((cache.len(), budget.used()), (1, 100));
    let busy = run.take(1).unwrap_err();
    assert!(!busy.is_too_large(), "another run holds the rest");
    assert!(has(&cache, "used"));
}

#[test]
fn a_claim_that_can_never_fit_empties_no_cache() {
    let budget = Budget::new(100);
    let cache = Cache::new(&budget, 100);
    cache.insert("a", holding(&budget, 30), 30);
    let run = budget.claim();
    run.take(60).unwrap();
    assert!(run.take(41).unwrap_err().is_too_large());
    assert!(has(&cache, "a"));
}

#[test]
fn a_dropped_cache_is_not_asked_to_evict() {
    let budget = Budget::new(100);
    let cache = Cache::new(&budget, 100);
    cache.insert("a", holding(&budget, 100), 100);
    drop(cache);
    budget.claim().take(100).unwrap();
    assert_eq!(budget.caches(), 0);
}
