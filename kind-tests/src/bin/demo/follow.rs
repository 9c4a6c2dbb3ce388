//! Waits for objects, and prints what each of them says meanwhile.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use kind_tests::{
    Failure, HELM_RELEASE, IMAGE_POLICY, IMAGE_REPOSITORY, IMAGE_UPDATE_AUTOMATION, KUSTOMIZATION,
    Kind, Result, condition, is_ready,
};
use serde_json::Value;

use crate::screen::{brief, say, say_for_now, text};
use crate::stage::Stage;

/// After so long a silence the waits that are left are named.
const SILENCE: Duration = Duration::from_secs(10);

/// The state that an object is to reach.
pub(crate) struct Goal<'a> {
    kind: Kind,
    name: &'a str,
    is_reached: Box<dyn Fn(&Value) -> bool + 'a>,
}

impl<'a> Goal<'a> {
    /// Ready, and this besides.
    pub(crate) fn new(kind: Kind, name: &'a str, is_reached: impl Fn(&Value) -> bool + 'a) -> Self {
        Self {
            kind,
            name,
            is_reached: Box::new(is_reached),
        }
    }

    /// Ready.
    pub(crate) fn ready(kind: Kind, name: &'a str) -> Self {
        Self::new(kind, name, |_| true)
    }

    fn object(&self) -> String {
        format!("{}/{}", self.kind.1, self.name)
    }

    /// Ready at a revision that begins so.
    pub(crate) fn at(kind: Kind, name: &'a str, begin: &'a str) -> Self {
        Self::new(kind, name, move |object| {
            revision(kind, object).starts_with(begin)
        })
    }
}

impl Stage {
    /// Applies these objects.
    pub(crate) async fn apply(&self, yaml: &str) -> Result {
        for line in yaml
            .replace("${namespace}", self.namespace.name())
            .trim()
            .lines()
        {
            say(&format!("  | {line}"));
        }
        self.namespace.apply(yaml).await?;
        Ok(())
    }

    /// Requests a reconcile as `flux reconcile` does, rather than wait for the interval.
    pub(crate) async fn reconcile(&self, kind: Kind, name: &str) -> Result {
        say(&format!("flux reconcile {}/{name}", kind.1));
        self.namespace.request_reconcile(kind, name).await?;
        Ok(())
    }

    /// Waits until all goals are reached, counted from `started`, and returns the objects.
    pub(crate) async fn follow(&self, started: Instant, goals: &[Goal<'_>]) -> Result<Vec<Value>> {
        let names = goals.iter().map(Goal::object);
        let waiting = &RefCell::new(names.collect::<BTreeSet<_>>());
        let all = goals.iter().map(|goal| async move {
            let object = self.reach(started, goal).await?;
            waiting.borrow_mut().remove(&goal.object());
            Ok::<_, Failure>(object)
        });
        tokio::select! {
            objects = try_join_all(all) => objects,
            () = remind(started, waiting) => unreachable!("it has no end"),
        }
    }

    async fn reach(&self, started: Instant, goal: &Goal<'_>) -> Result<Value> {
        let (kind, name) = (goal.kind, goal.name);
        let reached = |object: &Value| {
            self.tell(started, kind, name, object);
            is_ready(object, "True")
                && condition(object, "Reconciling").is_none()
                && (goal.is_reached)(object)
        };
        let object = self.namespace.wait(kind, name, "gets there", reached);
        let object = object.await?;
        let mut seen = self.seen.borrow_mut();
        if let Some((_, took)) = seen.get_mut(&(kind, name.to_owned())) {
            *took = started.elapsed();
        }
        Ok(object)
    }

    /// Prints what the object says, if it is new.
    fn tell(&self, started: Instant, kind: Kind, name: &str, object: &Value) {
        let progress = condition(object, "Reconciling").or_else(|| condition(object, "Ready"));
        let Some(message) = progress.map(|condition| text(&condition["message"])) else {
            return;
        };
        let mut seen = self.seen.borrow_mut();
        let (last, _) = seen.entry((kind, name.to_owned())).or_default();
        if *last != message {
            let seconds = started.elapsed().as_secs_f64();
            let shown = brief(&message);
            say(&format!("{seconds:>6.2} s  {}/{name}: {shown}", kind.1));
            *last = message;
        }
    }
}

/// Names the objects that are waited for, from time to time.
async fn remind(started: Instant, waiting: &RefCell<BTreeSet<String>>) {
    loop {
        tokio::time::sleep(SILENCE).await;
        let names: Vec<String> = waiting.borrow().iter().cloned().collect();
        let names = names.join(", ");
        let seconds = started.elapsed().as_secs_f64();
        say_for_now(&format!("{seconds:>6.2} s  waiting for {names}"));
    }
}

/// The revision that an object is at, as its kind calls it.
pub(crate) fn revision(kind: Kind, object: &Value) -> String {
    let status = &object["status"];
    match kind {
        KUSTOMIZATION => text(&status["lastAppliedRevision"]),
        HELM_RELEASE => text(&status["history"][0]["chartVersion"]),
        IMAGE_REPOSITORY => match &status["lastScanResult"]["tagCount"] {
            Value::Number(count) => format!("{count} tags"),
            _ => String::new(),
        },
        IMAGE_POLICY => text(&status["latestRef"]["tag"]),
        IMAGE_UPDATE_AUTOMATION => text(&status["lastPushCommit"]),
        _ => text(&status["artifact"]["revision"]),
    }
}
