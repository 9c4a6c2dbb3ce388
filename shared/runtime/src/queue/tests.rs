//! Tests of the work queue.

use super::*;
use crate::metrics::{Metrics, Page};

fn queue() -> Queue {
    let back_off = BackOff {
        first: Duration::from_millis(750),
        last: Duration::from_mins(15),
    };
    Queue::new(back_off, Metrics::new().unwrap().queue("test"))
}

fn key(name: &str) -> Key {
    Key::new("ns", name)
}

#[tokio::test(start_paused = true)]
async fn a_key_is_never_processed_concurrently() {
    // RT-QUE-001
    let queue = queue();
    queue.add(key("a"), LIVE, None);
    queue.add(key("a"), LIVE, None);
    let first = queue.next().await;
    assert!(
        tokio::time::timeout(Duration::from_secs(1), queue.next())
            .await
            .is_err(),
        "deduplicated"
    );
    queue.add(key("a"), LIVE, None);
    assert!(
        tokio::time::timeout(Duration::from_secs(1), queue.next())
            .await
            .is_err(),
        "still worked on"
    );
    queue.done(&first.key);
    assert_eq!(queue.next().await.key, key("a"));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_due_is_not_taken_before_it_is_asked_for() {
    let queue = queue();
    let waiting = tokio::time::timeout(Duration::from_secs(1), queue.due());
    assert!(waiting.await.is_err(), "there is nothing");
    queue.add(key("old"), INITIAL, None);
    queue.due().await;
    // What comes while all are working overtakes it, or takes it away.
    queue.add(key("new"), LIVE, None);
    queue.due().await;
    assert_eq!(queue.try_next().map(|next| next.key), Some(key("new")));
    queue.due().await;
    queue.remove(&key("old"));
    assert!(queue.try_next().is_none());
}

#[tokio::test(start_paused = true)]
async fn live_changes_overtake_the_first_list() {
    // RT-QUE-003
    let queue = queue();
    for name in ["old1", "old2"] {
        queue.add(key(name), INITIAL, None);
    }
    queue.add(key("new"), LIVE, None);
    queue.add(key("old2"), LIVE, None);
    let mut order = Vec::new();
    for _ in 0..3 {
        let ticket = queue.next().await;
        order.push((ticket.key.name, ticket.priority));
    }
    assert_eq!(
        order,
        [
            ("new".into(), LIVE),
            ("old2".into(), LIVE),
            ("old1".into(), INITIAL)
        ]
    );
}

/// The namespaces in the order in which the next `count` keys are handed out; each key is done at once.
async fn served(queue: &Queue, count: usize) -> Vec<String> {
    let mut order = Vec::new();
    for _ in 0..count {
        let ticket = queue.next().await;
        queue.done(&ticket.key);
        order.push(ticket.key.namespace);
    }
    order
}

#[tokio::test(start_paused = true)]
async fn namespaces_are_served_in_turn() {
    let queue = queue();
    for at in 0..500 {
        queue.add(Key::new("many", format!("{at}")), LIVE, None);
    }
    for (namespace, name) in [("two", "a"), ("one", "a"), ("two", "b")] {
        queue.add(Key::new(namespace, name), LIVE, None);
    }
    assert_eq!(
        served(&queue, 7).await,
        ["many", "two", "one", "many", "two", "many", "many"]
    );
    // a namespace with a new key after each turn gets one turn in each round, not all of them
    let mut order = Vec::new();
    for at in 0..4 {
        queue.add(Key::new("back", format!("{at}")), LIVE, None);
        order.extend(served(&queue, 2).await);
    }
    assert_eq!(
        order,
        [
            "many", "back", "many", "back", "many", "back", "many", "back"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn priorities_precede_turns() {
    // RT-QUE-003
    let queue = queue();
    for (namespace, priority) in [("a", INITIAL), ("b", LIVE), ("b", LIVE), ("c", INITIAL)] {
        let name = queue.shared.state.lock().unwrap().waiting.len().to_string();
        queue.add(Key::new(namespace, name), priority, None);
    }
    assert_eq!(served(&queue, 4).await, ["b", "b", "a", "c"]);
}

#[tokio::test(start_paused = true)]
async fn removing_a_key_keeps_the_order_of_turns() {
    let queue = queue();
    for (namespace, name) in [("a", "1"), ("a", "2"), ("b", "1"), ("c", "1")] {
        queue.add(Key::new(namespace, name), LIVE, None);
    }
    queue.remove(&Key::new("a", "1"));
    queue.remove(&Key::new("b", "1"));
    queue.remove(&Key::new("b", "absent"));
    assert_eq!(queue.next().await.key, Key::new("a", "2"));
    assert_eq!(queue.next().await.key, Key::new("c", "1"));
    assert!(!queue.shared.state.lock().unwrap().has_due());
}

#[tokio::test(start_paused = true)]
async fn failures_double_the_delay_until_the_cap() {
    // RT-QUE-004
    let queue = queue();
    let delays: Vec<_> = (0..13)
        .map(|_| queue.add_rate_limited(key("a"), LIVE).as_millis())
        .collect();
    assert_eq!(delays[..4], [750, 1_500, 3_000, 6_000]);
    assert_eq!(delays[11..], [900_000, 900_000]);
    queue.forget(&key("a"));
    assert_eq!(queue.add_rate_limited(key("a"), LIVE).as_millis(), 750);
}

#[tokio::test(start_paused = true)]
async fn the_earliest_due_time_wins() {
    // RT-QUE-005
    let queue = queue();
    let start = Instant::now();
    queue.add_after(key("a"), Duration::from_mins(10), LIVE);
    queue.add_after(key("a"), Duration::from_mins(1), LIVE);
    queue.add_after(key("a"), Duration::from_mins(5), LIVE);
    queue.next().await;
    assert_eq!(start.elapsed(), Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn a_trigger_interrupts_the_run() {
    // RT-WAT-013
    let queue = queue();
    queue.add(key("a"), LIVE, None);
    let mut ticket = queue.next().await;
    let trigger = Trigger {
        kind: "GitRepository".into(),
        namespace: "ns".into(),
        name: "repo".into(),
        uid: "u".into(),
        resource_version: "7".into(),
    };
    queue.add(key("a"), LIVE, Some(trigger.clone()));
    ticket.interrupt.changed().await.unwrap();
    assert_eq!(ticket.interrupt.borrow().clone(), Some(trigger));
}

#[tokio::test(start_paused = true)]
async fn a_key_added_again_keeps_its_place() {
    // RT-QUE-001: what became due first is handed out first
    let queue = queue();
    queue.add_after(key("late"), Duration::from_secs(1), LIVE);
    queue.add(key("a"), LIVE, None);
    queue.add(key("b"), LIVE, None);
    queue.add(key("a"), LIVE, None);
    tokio::time::advance(Duration::from_secs(2)).await;
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(queue.next().await.key.name);
    }
    assert_eq!(order, ["a", "b", "late"]);
    tokio::time::advance(Duration::from_secs(5)).await;
    queue.done(&key("b"));
    let work: Vec<_> = queue
        .work()
        .into_iter()
        .map(|work| (work.object, work.age.as_secs()))
        .collect();
    assert_eq!(work.len(), 2);
    assert!(
        work.iter().all(|(name, age)| name != "ns/b" && *age == 5),
        "{work:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn queue_metrics_match_upstream() {
    // RT-MET-016, RT-QUE-003
    let metrics = Metrics::new().unwrap();
    let back_off = BackOff {
        first: Duration::from_secs(1),
        last: Duration::from_mins(15),
    };
    let queue = Queue::new(back_off, metrics.queue("kustomization"));
    metrics.watch(queue.clone());
    let series = |name: &str| {
        let page = String::from_utf8(metrics.page(Page::default()).unwrap()).unwrap();
        page.lines()
            .filter_map(|line| line.strip_prefix(name))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let labels = "name=\"kustomization\"";
    let plain = format!("{{controller=\"kustomization\",{labels}}}");

    queue.add(key("boot"), INITIAL, None);
    queue.add(key("live"), LIVE, None);
    queue.add(key("live"), LIVE, None);
    queue.add_after(key("later"), Duration::from_mins(10), LIVE);
    queue.add_rate_limited(key("failed"), LIVE);
    assert_eq!(
        series("workqueue_depth"),
        [
            format!("{{controller=\"kustomization\",{labels},priority=\"-100\"}} 1"),
            format!("{{controller=\"kustomization\",{labels},priority=\"0\"}} 1"),
        ],
        "what waits for its time is not due"
    );
    assert_eq!(series("workqueue_adds_total"), [format!("{plain} 2")]);
    assert_eq!(
        series("workqueue_retries_total"),
        [format!("{plain} 2")],
        "every delay counts"
    );

    let live = queue.next().await;
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(
        series("workqueue_longest_running_processor_seconds"),
        [format!("{plain} 3")]
    );
    queue.next().await;
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(
        series("workqueue_unfinished_work_seconds"),
        [format!("{plain} 7")]
    );
    queue.done(&live.key);
    assert_eq!(
        series("workqueue_work_duration_seconds_sum"),
        [format!("{plain} 5")]
    );
    assert_eq!(
        series("workqueue_work_duration_seconds_count"),
        [format!("{plain} 1")]
    );
    // "live" did not wait, "failed" was due for two seconds
    let waited: Vec<f64> = series("workqueue_queue_duration_seconds_sum")
        .iter()
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    assert_eq!(waited, [2.0]);
    let bounds: Vec<String> = series("workqueue_queue_duration_seconds_bucket")
        .iter()
        .filter_map(|line| Some(line.split("le=\"").nth(1)?.split('"').next()?.to_owned()))
        .collect();
    assert_eq!(
        bounds,
        [
            "1e-08",
            "1e-07",
            "1e-06",
            "9.999999999999999e-06",
            "9.999999999999999e-05",
            "0.001",
            "0.01",
            "0.1",
            "1",
            "10",
            "100",
            "1000",
            "+Inf"
        ],
        "to the digit as upstream's, since they are labels"
    );
}
