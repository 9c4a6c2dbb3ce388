//! The commands of `flux` that read, change and make objects, with all controllers running.

mod act;
mod build;
mod create;
mod debug;
mod metrics;
mod prometheus;
mod queries;
mod show;
mod world;

use std::time::Duration;

use kind_tests::Result;

use act::reconciled;
use build::built_and_compared;
use create::created;
use debug::debugged;
use metrics::measured;
use prometheus::queried;
use show::shown;
use world::World;

/// Between looks at what another process writes.
const PAUSE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flux_works_with_every_kind() -> Result {
    let world = World::start().await?;
    created(&world).await?;
    shown(&world).await?;
    reconciled(&world).await?;
    built_and_compared(&world).await?;
    debugged(&world)?;
    measured(&world).await?;
    queried(&world).await
}
