//! Gets the programs: Kubernetes by Go and the controllers by cargo, side by side, with their progress on the screen.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kind_tests::{Cluster, Doing, Result, controller};
use registries::Registry;

use crate::screen::{say, say_for_now};
use crate::stage::CONTROLLERS;

/// How often progress is shown.
const INTERVAL: Duration = Duration::from_secs(5);

/// How far a build is, for the screen; nothing when it is complete or has not begun.
#[derive(Clone, Default)]
struct Progress(Arc<Mutex<Option<String>>>);

impl Progress {
    fn set(&self, text: Option<String>) {
        if let Ok(mut shown) = self.0.lock() {
            *shown = text;
        }
    }

    fn get(&self) -> Option<String> {
        self.0.lock().ok().and_then(|shown| shown.clone())
    }
}

/// A cluster, a registry, and the binaries of all controllers.
///
/// Go needs no more than one core at its end, and cargo at its own, so that both fit side by side.
pub(crate) async fn all() -> Result<(Cluster, Registry)> {
    let started = Instant::now();
    let (kubernetes, controllers) = (Progress::default(), Progress::default());
    let shown = controllers.clone();
    let rust = tokio::task::spawn_blocking(move || {
        let count = |compiled: controller::Compiled, _: &str| {
            shown.set(Some(format!("{} of {} crates", compiled.done, compiled.of)));
        };
        let built = controller::build_together(&CONTROLLERS, &count);
        shown.set(None);
        built
    });
    let built = async {
        let (go, rust) = tokio::join!(go(&kubernetes), rust);
        rust.doing("build the controllers")??;
        go
    };
    let (cluster, registry) = tokio::select! {
        both = built => both?,
        () = show(started, &kubernetes, &controllers) => unreachable!("it has no end"),
    };
    say(&format!(
        "{} (after {:.1} s)",
        cluster.describe(),
        started.elapsed().as_secs_f64()
    ));
    Ok((cluster, registry))
}

/// The cluster and the registry, which are Go programs.
async fn go(progress: &Progress) -> Result<(Cluster, Registry)> {
    let shown = progress.clone();
    let built = tokio::task::spawn_blocking(move || {
        Cluster::build_with(&|text| shown.set(Some(text.to_owned())))
    });
    built.await??;
    progress.set(Some("starting".to_owned()));
    // It panics if it cannot be built.
    let registry = async {
        let started = tokio::task::spawn_blocking(Registry::start).await;
        started.doing("build and start the registry")
    };
    let both = tokio::try_join!(Cluster::shared(), registry);
    progress.set(None);
    both
}

async fn show(started: Instant, kubernetes: &Progress, controllers: &Progress) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let parts = [("Kubernetes", kubernetes), ("controllers", controllers)];
        let parts = parts.into_iter().filter_map(|(name, progress)| {
            let text = progress.get()?;
            Some(format!("{name}: {text}"))
        });
        let parts: Vec<String> = parts.collect();
        if !parts.is_empty() {
            let seconds = started.elapsed().as_secs();
            say_for_now(&format!("{seconds:>4} s  {}", parts.join(", ")));
        }
    }
}
