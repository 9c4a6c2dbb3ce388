//! What the table knows, and what it costs.

use flux_budget::Budget;
use flux_cluster::Object;
use serde_json::json;

use super::*;

/// An object of a Kustomization in the namespace `flux`.
pub(in crate::watched) fn seen(uid: &str, version: &str, owner: &str) -> Seen {
    let labels = BTreeMap::from([
        (NAME_LABEL.to_owned(), owner.to_owned()),
        (NAMESPACE_LABEL.to_owned(), "flux".to_owned()),
    ]);
    let metadata = json!({ "uid": uid, "resourceVersion": version, "labels": labels });
    let object = Object::new(json!({ "metadata": metadata })).unwrap();
    let live = Live::of(&object).unwrap();
    Seen { live, labels }
}

fn table(budget: &Budget) -> Table {
    let claims = [budget.claim(), Budget::unlimited().claim()];
    Table::new(claims, Owners::default())
}

#[test]
fn states_are_known_while_the_watch_is_open() {
    let mut table = table(&Budget::unlimited());
    let first = seen("a", "1", "app");
    table.begin();
    let change = table.put(first.clone()).unwrap();
    let (uid, live) = (first.live.uid, first.live);
    assert_eq!(change, Some((Key::new("flux", "app"), uid, Some(live))));
    assert!(table.end().is_empty());
    let asked = [Uid::of("b"), uid];
    assert_eq!(table.states(&asked), None, "the watch is not open");
    table.set_current(true);
    assert_eq!(table.states(&asked), Some(vec![None, Some(live)]));

    assert_eq!(table.put(first).unwrap(), None, "the same state once more");
    let second = seen("a", "2", "app");
    assert!(table.put(second.clone()).unwrap().is_some());
    assert_eq!(table.states(&[uid]), Some(vec![Some(second.live)]));
    let gone = Some((Key::new("flux", "app"), uid, None));
    assert_eq!(table.remove(uid), gone);
    assert_eq!(table.remove(uid), None);
    assert_eq!(table.states(&[uid]), Some(vec![None]));
    table.begin();
    assert_eq!(table.states(&[uid]), None, "it is being listed");
}

#[test]
fn what_a_later_list_does_not_have_is_gone() {
    let mut table = table(&Budget::unlimited());
    let put = |table: &mut Table, uid: &str| table.put(seen(uid, "1", uid)).unwrap();
    table.begin();
    for uid in ["a", "b"] {
        put(&mut table, uid);
    }
    assert!(table.end().is_empty());
    put(&mut table, "c");
    table.begin();
    assert_eq!(put(&mut table, "b"), None);
    assert!(put(&mut table, "d").is_some());
    let mut gone: Vec<String> = table
        .end()
        .into_iter()
        .map(|(owner, _, live)| format!("{} {live:?}", owner.name))
        .collect();
    gone.sort();
    assert_eq!(gone, ["a None", "c None"]);
    assert_eq!((table.entries.len(), table.owners.len()), (2, 2));
}

#[test]
fn memory_is_claimed_and_given_back() {
    let budget = Budget::new(2 * OBJECT);
    let mut table = table(&budget);
    for uid in ["a", "b"] {
        table.put(seen(uid, "1", "app")).unwrap();
    }
    table.put(seen("b", "2", "app")).unwrap();
    assert_eq!(budget.used(), 2 * OBJECT);
    table.put(seen("c", "1", "late")).unwrap_err();
    assert_eq!((table.entries.len(), table.owners.len()), (2, 1));
    assert_eq!(table.claims[1].held(), 2 * OBJECT);
    table.remove(Uid::of("a"));
    table.put(seen("c", "1", "late")).unwrap();
    table.clear();
    assert_eq!((budget.used(), table.claims[1].held()), (0, 0));
    table.put(seen("c", "1", "late")).unwrap();
    drop(table);
    assert_eq!(budget.used(), 0);
}

#[test]
fn owners_are_kept_as_long_as_they_have_objects() {
    let owners = Owners::default();
    let key = |name: &str| Key::new("flux", name);
    let (a, b) = (owners.add(key("a")), owners.add(key("b")));
    assert_eq!(owners.add(key("a")), a);
    assert_eq!(owners.remove(a), key("a"));
    assert_eq!(owners.len(), 2);
    assert_eq!(owners.remove(a), key("a"));
    assert_eq!(owners.len(), 1);
    assert_eq!(owners.add(key("c")), a, "the number is used again");
    assert_eq!((owners.remove(b), owners.remove(a)), (key("b"), key("c")));
}

#[test]
fn an_object_takes_no_more_than_is_claimed_for_it() {
    assert_eq!(size_of::<Entry>(), 56);
    let mut table = table(&Budget::unlimited());
    for number in 0..100_000 {
        let owner = format!("app-{}", number / 100);
        table.put(seen(&number.to_string(), "1", &owner)).unwrap();
        // Slots are seven eighths full at most, and each has a byte besides.
        let slots = (table.entries.capacity() * 8).div_ceil(7) as u64;
        assert!(
            number < 1000 || slots * 57 <= (number + 1) * OBJECT,
            "{number} objects have {slots} slots"
        );
    }
}
