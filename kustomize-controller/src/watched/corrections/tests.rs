//! Which changes enqueue a Kustomization, and when.

use tokio::time::advance;

use super::*;
use crate::watched::table::tests::seen;

/// Says what it is told to say.
struct Says(Mutex<Drift>);

impl Known for Says {
    fn drift(&self, owner: &Key, _: Uid, _: Option<&Live>) -> Drift {
        assert_eq!(*owner, Key::new("flux", "app"));
        self.0.lock().unwrap().clone()
    }
}

fn says(drift: Drift) -> Says {
    Says(Mutex::new(drift))
}

fn drift(name: &str) -> Drift {
    Drift::Of(ObjectId {
        kind: "ConfigMap".into(),
        name: name.into(),
        ..ObjectId::default()
    })
}

fn report(corrections: &Corrections, uid: &str) {
    let seen = seen(uid, "1", "app");
    let owner = Key::new("flux", "app");
    corrections.report([(owner, seen.live.uid, Some(seen.live))]);
}

/// How many Kustomizations are enqueued after a time.
async fn after(corrections: &Corrections, known: &Says, time: Duration) -> usize {
    advance(time).await;
    corrections.drifted(known, Instant::now()).len()
}

#[tokio::test(start_paused = true)]
async fn an_object_is_corrected_at_once_and_then_at_its_pace() {
    let corrections = Corrections::new(true);
    let (first, second) = (says(drift("a")), says(drift("b")));
    report(&corrections, "a");
    assert_eq!(after(&corrections, &first, Duration::ZERO).await, 0);
    assert_eq!(after(&corrections, &first, COLLECTED).await, 1);
    assert_eq!(after(&corrections, &first, PACE / 2).await, 0);
    // Another controller has changed it again, and recreated it even.
    report(&corrections, "a-recreated");
    assert_eq!(after(&corrections, &first, COLLECTED).await, 0);
    report(&corrections, "b");
    assert_eq!(after(&corrections, &second, COLLECTED).await, 1);
    assert_eq!(after(&corrections, &first, PACE / 2).await, 1);
    assert_eq!(after(&corrections, &first, PACE * 2).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_run_has_done_itself_is_no_drift() {
    let corrections = Corrections::new(true);
    let known = says(Drift::Running);
    report(&corrections, "a");
    assert_eq!(after(&corrections, &known, COLLECTED).await, 0);
    *known.0.lock().unwrap() = Drift::None;
    assert_eq!(after(&corrections, &known, RUNNING[0]).await, 0);
    *known.0.lock().unwrap() = drift("a");
    assert_eq!(after(&corrections, &known, RUNNING[1]).await, 0);

    // A run that does not end is not waited for for ever.
    report(&corrections, "b");
    *known.0.lock().unwrap() = Drift::Running;
    assert_eq!(after(&corrections, &known, RUNNING[1]).await, 0);
    *known.0.lock().unwrap() = drift("b");
    assert_eq!(after(&corrections, &known, RUNNING[1]).await, 0);
}

#[tokio::test(start_paused = true)]
async fn without_the_variable_a_requested_run_is_repeated_once_for_what_it_missed() {
    let corrections = Corrections::new(false);
    let (owner, known) = (Key::new("flux", "app"), says(drift("a")));
    report(&corrections, "a");
    assert_eq!(after(&corrections, &known, COLLECTED).await, 0);
    corrections.was_eager(&owner);
    report(&corrections, "a");
    assert_eq!(after(&corrections, &known, COLLECTED).await, 1);
    report(&corrections, "a");
    assert_eq!(after(&corrections, &known, COLLECTED).await, 0);
    // The next request has the same right.
    corrections.was_eager(&owner);
    report(&corrections, "a");
    assert_eq!(after(&corrections, &known, COLLECTED).await, 1);
    corrections.was_eager(&owner);
    advance(LATE).await;
    report(&corrections, "a");
    assert_eq!(after(&corrections, &known, COLLECTED).await, 0);
}

#[test]
fn changes_that_wait_are_bounded() {
    let corrections = Corrections::new(true);
    for number in 0..=CHANGES {
        report(&corrections, &number.to_string());
    }
    assert_eq!(corrections.state().changes.len(), CHANGES);
}
