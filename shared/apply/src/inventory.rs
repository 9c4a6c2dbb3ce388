//! The inventory: the objects that a run has applied.

use std::collections::{BTreeMap, HashSet};

use flux_api::meta::{ResourceInventory, ResourceRef};
use flux_cluster::{MalformedId, ObjectId};

use crate::order::apply_order;
use crate::{Action, ChangeSet};

/// An object of an inventory, with the version in which it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// The object.
    pub id: ObjectId,
    /// The version of its kind, without group.
    pub version: String,
}

/// The inventory of a run: every object of the change set, in its order, skipped ones included (KC-PRUNE-001).
pub fn of(changes: &ChangeSet) -> ResourceInventory {
    let entry = |id: &ObjectId, version: &str| ResourceRef {
        id: id.inventory_id(),
        version: version.to_owned(),
    };
    ResourceInventory {
        entries: changes
            .changes
            .iter()
            .map(|change| entry(&change.id, &change.version))
            .collect(),
    }
}

/// The objects of an inventory, in apply order.
///
/// # Errors
///
/// At the first entry whose id is malformed.
pub fn list(inventory: &ResourceInventory) -> Result<Vec<Tracked>, MalformedId> {
    tracked(&inventory.entries)
}

fn tracked<'e>(
    entries: impl IntoIterator<Item = &'e ResourceRef>,
) -> Result<Vec<Tracked>, MalformedId> {
    let entries = entries.into_iter();
    let mut objects: Vec<Tracked> = entries
        .map(|entry| {
            Ok(Tracked {
                id: ObjectId::from_inventory_id(&entry.id)?,
                version: entry.version.clone(),
            })
        })
        .collect::<Result<_, MalformedId>>()?;
    objects.sort_by(|left, right| apply_order(&left.id, &right.id));
    Ok(objects)
}

/// The objects in the old inventory that are missing from the new one, in apply order. Versions are not compared; the
/// old entry's is kept, since the object is known to exist in that version (KC-PRUNE-003).
///
/// # Errors
///
/// At the first entry of either inventory whose id is malformed.
pub fn stale(
    old: &ResourceInventory,
    new: &ResourceInventory,
) -> Result<Vec<Tracked>, MalformedId> {
    let ids = || new.entries.iter().map(|entry| entry.id.as_str());
    let kept: HashSet<ObjectId> = ids()
        .map(ObjectId::from_inventory_id)
        .collect::<Result<_, MalformedId>>()?;
    let same: HashSet<&str> = ids().collect();
    // An id may be written in two ways, but most are unchanged.
    let others = old
        .entries
        .iter()
        .filter(|entry| !same.contains(entry.id.as_str()));
    let mut seen = BTreeMap::new();
    for tracked in tracked(others)? {
        // If two entries have the same object, the later one's version is used.
        if !kept.contains(&tracked.id) {
            seen.insert(tracked.id.clone(), tracked);
        }
    }
    let mut stale: Vec<Tracked> = seen.into_values().collect();
    stale.sort_by(|left, right| apply_order(&left.id, &right.id));
    Ok(stale)
}

/// Adds back the objects whose deletion was not confirmed, so that the next run retries it (KC-PRUNE-009).
pub fn keep_survivors(
    inventory: &mut ResourceInventory,
    attempted: &[Tracked],
    outcome: &ChangeSet,
) {
    let changes = outcome.changes.iter();
    let finished: HashSet<&ObjectId> = changes
        .filter(|change| matches!(change.action, Action::Deleted | Action::Skipped))
        .map(|change| &change.id)
        .collect();
    let mut known: HashSet<String> = inventory
        .entries
        .iter()
        .map(|entry| entry.id.clone())
        .collect();
    let survivors = attempted
        .iter()
        .filter(|tracked| !finished.contains(&tracked.id));
    for tracked in survivors {
        let id = tracked.id.inventory_id();
        if known.insert(id.clone()) {
            inventory.entries.push(ResourceRef {
                id,
                version: tracked.version.clone(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use flux_api::meta::{ResourceInventory, ResourceRef};
    use flux_cluster::ObjectId;

    use super::{Tracked, keep_survivors, list, of, stale};
    use crate::{Action, Change, ChangeSet};

    fn inventory(entries: &[(&str, &str)]) -> ResourceInventory {
        let entry = |(id, version): &(&str, &str)| ResourceRef {
            id: (*id).into(),
            version: (*version).into(),
        };
        ResourceInventory {
            entries: entries.iter().map(entry).collect(),
        }
    }

    fn tracked(id: &str, version: &str) -> Tracked {
        Tracked {
            id: ObjectId::from_inventory_id(id).unwrap(),
            version: version.into(),
        }
    }

    fn change(id: &str, action: Action) -> Change {
        Change {
            id: ObjectId::from_inventory_id(id).unwrap(),
            version: "v1".into(),
            action,
        }
    }

    // KC-PRUNE-003
    #[test]
    fn objects_are_stale_if_missing_regardless_of_version() {
        let old = inventory(&[
            ("apps_web_apps_Deployment", "v1"),
            ("apps_job_batch_CronJob", "v1beta1"),
            ("apps_gone__ConfigMap", "v1"),
            ("apps_moved_extensions_Ingress", "v1beta1"),
            ("_apps__Namespace", "v1"),
        ]);
        let new = inventory(&[
            ("apps_web_apps_Deployment", "v1"),
            ("apps_job_batch_CronJob", "v1"),
            ("apps_moved_networking.k8s.io_Ingress", "v1"),
        ]);
        let want = [
            tracked("_apps__Namespace", "v1"),
            tracked("apps_gone__ConfigMap", "v1"),
            tracked("apps_moved_extensions_Ingress", "v1beta1"),
        ];
        assert_eq!(stale(&old, &new).unwrap(), want);
        assert_eq!(stale(&new, &new).unwrap(), []);
        assert!(stale(&inventory(&[("broken", "v1")]), &new).is_err());
    }

    // KC-PRUNE-001 KC-API-041 RT-CON-022
    #[test]
    fn the_inventory_tracks_all_objects_in_apply_order() {
        let set = ChangeSet::from(vec![
            change("apps_b__ConfigMap", Action::Created),
            change("apps_a__ConfigMap", Action::Skipped),
            change("apps_c__Secret", Action::Unchanged),
        ]);
        let made = of(&set);
        let ids: Vec<&str> = made.entries.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(
            ids,
            ["apps_b__ConfigMap", "apps_a__ConfigMap", "apps_c__Secret"]
        );
        let json = serde_json::to_value(of(&ChangeSet::default())).unwrap();
        assert_eq!(
            json,
            serde_json::json!({ "entries": [] }),
            "an empty build leaves an empty list"
        );
        assert_eq!(list(&made).unwrap().len(), 3);
        assert_eq!(
            serde_json::to_value(&made.entries[0]).unwrap(),
            serde_json::json!({ "id": "apps_b__ConfigMap", "v": "v1" })
        );
    }

    // KC-PRUNE-009
    #[test]
    fn objects_not_confirmed_deleted_stay_in_the_inventory() {
        let attempted = [
            tracked("a_gone__ConfigMap", "v1"),
            tracked("a_skipped__ConfigMap", "v1"),
            tracked("a_refused__ConfigMap", "v1"),
            tracked("a_unasked_apps_Deployment", "v1"),
        ];
        let outcome = ChangeSet::from(vec![
            change("a_gone__ConfigMap", Action::Deleted),
            change("a_skipped__ConfigMap", Action::Skipped),
            change("a_refused__ConfigMap", Action::Unknown),
        ]);
        let mut kept = inventory(&[("a_new__ConfigMap", "v1")]);
        keep_survivors(&mut kept, &attempted, &outcome);
        let want = [
            ("a_new__ConfigMap", "v1"),
            ("a_refused__ConfigMap", "v1"),
            ("a_unasked_apps_Deployment", "v1"),
        ];
        assert_eq!(kept, inventory(&want));
    }
}
