//! `cargo bench -p kind-tests --bench startup`: time from start to ready, and idle memory.

mod figures;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use figures::{mebibytes, median, milliseconds, print};
use kind_tests::controller::{self, Controller, Settings};
use kind_tests::{Namespace, Result};

const RUNS: usize = 7;

fn main() -> ExitCode {
    figures::main(bench())
}

async fn bench() -> Result {
    let cluster = figures::cluster().await?;
    for name in [
        "source-controller",
        "kustomize-controller",
        "helm-controller",
        "notification-controller",
        "image-automation-controller",
        "image-reflector-controller",
        "source-watcher",
    ] {
        let built = name.to_owned();
        let program = tokio::task::spawn_blocking(move || controller::program(&built)).await??;
        print(
            &format!("{name}: size of the binary"),
            &mebibytes(std::fs::metadata(&program)?.len()),
            "target 25 MB",
        );
        let namespace = Namespace::create(&cluster, "startup").await?;
        let mut times = Vec::new();
        let mut idle = Vec::new();
        for run in 0..RUNS {
            // The very first start also reads the binary from disk.
            let started = Instant::now();
            let controller = Controller::start(name, &namespace, Settings::default()).await?;
            times.push(started.elapsed());
            if run == RUNS - 1 {
                // Memory that start-up allocated and no longer uses has been returned by then, or never will be.
                for _ in 0..5 {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    idle.push(controller.resident_bytes()?);
                }
            }
        }
        let figure = milliseconds(median(times));
        print(
            &format!("{name}: start to ready, median of {RUNS}"),
            &figure,
            "target 150 ms",
        );
        let resident = idle.iter().copied().min().unwrap_or_default();
        print(
            &format!("{name}: idle memory"),
            &mebibytes(resident),
            "target 12 MiB, upstream 59 to 73 MiB",
        );
    }
    Ok(())
}
