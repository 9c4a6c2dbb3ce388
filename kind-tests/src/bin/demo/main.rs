//! `cargo demo`: all seven controllers on a cluster, from Git, a registry and a chart to running objects.

mod build;
mod chapters;
mod chat;
mod follow;
mod screen;
mod stage;
mod summary;

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use chapters::{charts, generator, git, images, oci};
use kind_tests::{Doing, Failure, Result, cache};
use screen::{heading, say};
use stage::Stage;

const USAGE: &str = "usage: cargo demo [--stay | --leave]

Gets a Kubernetes cluster, starts all seven controllers on it, and shows each step of: a Git repository with an encrypted
Secret, manifests in an OCI registry, a chart from an index and from a registry, an artifact of parts of both sources, an
image update that is committed and rolled out, and alerts about all of it to a chat of its own.

  --stay   keep everything running at the end, to push commits of your own, until Ctrl-C
           (the default when there is a terminal to press it on)
  --leave  end at once, also on a terminal";

/// How many lines of a failure are printed; the file has all.
const SHOWN_LINES: usize = 25;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let stay = match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
        ["--stay"] => true,
        ["--leave"] => false,
        ["--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let logs = match logs() {
        Ok(logs) => logs,
        Err(failure) => {
            eprintln!("The demo cannot begin: {failure}");
            return ExitCode::FAILURE;
        }
    };
    // On any exit, everything started is dropped and thereby stopped.
    let ended = tokio::select! {
        result = run(&logs, stay) => result,
        _ = tokio::signal::ctrl_c() => {
            println!();
            say("Interrupted: stopping the controllers and deleting the namespace; the cluster keeps running.");
            Ok(())
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, &logs);
            ExitCode::FAILURE
        }
    }
}

/// An empty folder for the logs of the controllers.
fn logs() -> Result<PathBuf> {
    let folder = cache::folder()?.join("demo-logs");
    let folder = folder.join(std::process::id().to_string());
    if folder.exists() {
        fs::remove_dir_all(&folder).doing(format!("empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).doing(format!("create {}", folder.display()))?;
    Ok(folder)
}

/// Prints the beginning of the failure, and writes all of it beside the logs.
fn report(failure: &Failure, logs: &Path) {
    let text = failure.to_string();
    let shown: Vec<&str> = text.lines().take(SHOWN_LINES).collect();
    let file = logs.join("failure.txt");
    let written = fs::write(&file, &text);
    say(""); // ends a line that would be overwritten
    eprintln!("The demo failed at this step: {}", shown.join("\n"));
    if shown.len() < text.lines().count() && written.is_ok() {
        eprintln!("... (the rest is in {})", file.display());
    }
    eprintln!("The controllers' logs are in {}", logs.display());
}

async fn run(logs: &Path, stay: bool) -> Result {
    let begun = Instant::now();
    let cluster = "1. A Kubernetes cluster, and the controllers";
    let (cluster, registry) = step(cluster, build::all()).await?;
    let built = begun.elapsed();
    let title = "2. The controllers start";
    let stage = step(title, Stage::start(&cluster, registry, logs)).await?;
    let stage = &stage;
    step("3. Alerts go to a chat", git::alerts(stage)).await?;
    let title = "4. Git: from a commit to running objects, with an encrypted Secret";
    step(title, git::first(stage)).await?;
    step("5. Git: a second commit", git::second(stage)).await?;
    let title = "6. OCI: manifests in a registry, and their next version";
    step(title, oci::show(stage)).await?;
    let title = "7. Helm: a chart from an index and from a registry, and its next version";
    step(title, charts::show(stage)).await?;
    let title = "8. An artifact made of parts of Git and of the registry";
    step(title, generator::show(stage)).await?;
    let title = "9. Images: a new tag becomes a commit, and the commit a rollout";
    step(title, images::show(stage)).await?;
    step("10. All of it", summary::alerts(stage)).await?;
    summary::objects(stage).await?;
    stage.show_processes()?;
    say("");
    say(&format!(
        "{:.0} s in all, of which {:.0} s for the cluster and the programs; the controllers' logs are in {}",
        begun.elapsed().as_secs_f64(),
        built.as_secs_f64(),
        logs.display()
    ));

    heading("What to do next");
    summary::next(stage, stay);
    if stay {
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Carries out a step under its title, which also names it in a failure.
async fn step<T>(title: &str, step: impl Future<Output = Result<T>>) -> Result<T> {
    heading(title);
    Box::pin(step).await.doing(title)
}
