//! `cargo demo`: a commit becomes running objects, and a second commit becomes their change.

mod sample;
mod screen;

use std::cell::RefCell;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Instant;

use kind_tests::{
    Cluster, Failure, Flux, GIT_REPOSITORY, KUSTOMIZATION, Kind, Result, condition, controller,
    is_ready,
};
use screen::{heading, say, table};
use serde_json::Value;

const USAGE: &str = "usage: cargo demo [--stay]

Gets a Kubernetes cluster, starts source-controller, kustomize-controller and notification-controller on it, serves a Git
repository, and reconciles two commits of it onto the cluster, with a message about each to a chat of its own.

  --stay   keep everything running at the end, to push commits of your own, until Ctrl-C
           (the default when there is a terminal to press it on)
  --leave  end at once, also on a terminal";

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
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    // On any exit, everything started is dropped and thereby stopped.
    let ended = tokio::select! {
        result = run(stay) => result,
        _ = tokio::signal::ctrl_c() => {
            println!();
            say("Interrupted: stopping the controllers and deleting the namespace; the cluster keeps running.");
            Ok(())
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nThe demo failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(stay: bool) -> Result {
    heading("1. A Kubernetes cluster, and the controllers");
    let started = Instant::now();
    // Building Kubernetes is Go's work and mostly serial at its end, so that both builds fit side by side.
    let controllers = tokio::task::spawn_blocking(|| {
        controller::build_together(&[
            "source-controller",
            "kustomize-controller",
            "notification-controller",
        ])
    });
    let (cluster, controllers) = tokio::join!(Cluster::shared(), controllers);
    controllers??;
    let cluster = cluster?;
    say(&format!(
        "{} (after {:.1} s)",
        cluster.describe(),
        started.elapsed().as_secs_f64()
    ));

    heading("2. The controllers start");
    let started = Instant::now();
    let flux = Flux::start_notified_on(&cluster, "demo").await?;
    say(&format!(
        "all are ready after {} ms",
        started.elapsed().as_millis()
    ));
    for controller in [&flux.source, &flux.kustomize]
        .into_iter()
        .chain(&flux.notification)
    {
        let mebibytes = controller.resident_bytes()? as f64 / f64::from(1 << 20);
        say(&format!(
            "{:<22} process {}, {mebibytes:.1} MiB of memory",
            controller.name(),
            controller.pid()
        ));
    }

    heading("3. A Git repository");
    let first = flux.commit(sample::FIRST);
    say(&format!(
        "{} has its first commit:",
        flux.git.url("app.git")
    ));
    for (path, _) in sample::FIRST {
        say(&format!("  {path}"));
    }

    heading("4. From the commit to running objects");
    let source = flux.git_repository("app", "ref: {branch: main}");
    let kustomization = flux.kustomization("app", &["path: ./deploy", "prune: true", "wait: true"]);
    let notifications = sample::notifications(&flux.events.url());
    println!(
        "{}---{}---{}",
        source,
        kustomization.replace("${namespace}", flux.namespace.name()),
        notifications
    );
    flux.namespace.apply(&notifications).await?;
    let started = Instant::now();
    flux.namespace.apply(&source).await?;
    flux.namespace.apply(&kustomization).await?;
    Box::pin(follow(&flux, &first, started)).await?;
    show(&flux).await?;

    heading("5. A second commit");
    for line in sample::CHANGES {
        say(line);
    }
    let second = sample::second(&flux.repo);
    let started = Instant::now();
    flux.fetch().await?;
    Box::pin(follow(&flux, &second, started)).await?;
    show(&flux).await?;
    messages(&flux).await?;

    heading("What to do next");
    next(&flux, stay);
    if stay {
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Prints the status of both objects until the revision is applied and healthy.
async fn follow(flux: &Flux, revision: &str, started: Instant) -> Result {
    let fetched = flux
        .namespace
        .wait(GIT_REPOSITORY, "app", "has the commit", |object| {
            object["status"]["artifact"]["revision"] == revision && is_ready(object, "True")
        });
    let applied = flux.applied("app", revision);
    let printed = [
        Printed::new(GIT_REPOSITORY, started),
        Printed::new(KUSTOMIZATION, started),
    ];
    let [source, kustomization] = &printed;
    tokio::select! {
        both = async { tokio::try_join!(fetched, applied) } => {
            let (object, other) = both?;
            source.tell(&object);
            kustomization.tell(&other);
        }
        failure = watch(flux, source) => return Err(failure),
        failure = watch(flux, kustomization) => return Err(failure),
    }
    say(&format!(
        "applied and healthy after {:.2} s",
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Prints each new state of the object, as long as it is polled.
async fn watch(flux: &Flux, printed: &Printed) -> Failure {
    let endless = flux
        .namespace
        .wait(printed.kind, "app", "is watched", |object| {
            printed.tell(object);
            false
        });
    match endless.await {
        Err(failure) => failure,
        Ok(_) => Failure::new("the watch has ended"),
    }
}

/// The last printed state of an object.
struct Printed {
    kind: Kind,
    started: Instant,
    last: RefCell<String>,
}

impl Printed {
    fn new(kind: Kind, started: Instant) -> Self {
        Self {
            kind,
            started,
            last: RefCell::default(),
        }
    }

    fn tell(&self, object: &Value) {
        let progress = condition(object, "Reconciling").or_else(|| condition(object, "Ready"));
        let Some(message) = progress.and_then(|condition| condition["message"].as_str()) else {
            return;
        };
        if *self.last.borrow() != message {
            say(&format!(
                "{:>6.2} s  {:<14} {message}",
                self.started.elapsed().as_secs_f64(),
                self.kind.1
            ));
            self.last.replace(message.to_owned());
        }
    }
}

/// Prints the Flux objects and the objects that they created, as tables.
async fn show(flux: &Flux) -> Result {
    let mut rows = Vec::new();
    for kind in [GIT_REPOSITORY, KUSTOMIZATION] {
        let object = flux.namespace.get(kind, "app").await?.unwrap_or_default();
        let ready = condition(&object, "Ready").cloned().unwrap_or_default();
        let revision = match kind {
            GIT_REPOSITORY => &object["status"]["artifact"]["revision"],
            _ => &object["status"]["lastAppliedRevision"],
        };
        rows.push(vec![
            kind.1.to_owned(),
            text(&ready["status"]),
            short(revision),
            text(&ready["message"]),
        ]);
    }
    println!();
    table(&["FLUX OBJECT", "READY", "REVISION", "MESSAGE"], &rows);

    let mut rows = Vec::new();
    for (kind, name) in sample::inventory(flux).await? {
        let object = flux.namespace.get(kind, &name).await?;
        let state = object
            .as_ref()
            .map_or_else(|| "gone".to_owned(), sample::state);
        rows.push(vec![kind.1.to_owned(), name, state]);
    }
    println!();
    table(&["APPLIED", "NAME", "STATE"], &rows);
    Ok(())
}

/// Prints what notification-controller has sent to the chat, once it tells of the second commit.
async fn messages(flux: &Flux) -> Result {
    let of_objects = |event: &Value| event["involvedObject"]["kind"] == "Kustomization";
    flux.events.wait("of the Kustomization", of_objects).await?;
    let rows: Vec<Vec<String>> = flux
        .events
        .events()
        .iter()
        .map(|event| {
            let message = text(&event["message"]);
            let first = message.lines().next().unwrap_or_default().to_owned();
            let first: String = first.chars().take(70).collect();
            vec![
                text(&event["involvedObject"]["kind"]),
                text(&event["severity"]),
                first,
            ]
        })
        .collect();
    println!();
    table(&["MESSAGE ABOUT", "SEVERITY", "TEXT"], &rows);
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A revision with a shortened hash.
fn short(revision: &Value) -> String {
    let revision = text(revision);
    match revision.split_once("@sha1:") {
        Some((name, hash)) => format!("{name}@sha1:{}", hash.get(..8).unwrap_or(hash)),
        None => revision,
    }
}

fn next(flux: &Flux, stay: bool) {
    let namespace = flux.namespace.name();
    let kubectl = "cargo run -q -p kind-tests --bin cluster -- kubectl";
    if stay {
        say("Everything runs on until you press Ctrl-C. In another terminal:");
        say(&format!(
            "  git clone {} && cd app",
            flux.git.url("app.git")
        ));
        say(
            "  edit deploy/, commit and push; then have it fetched at once, or wait up to ten minutes:",
        );
        say(&format!(
            "  {kubectl} -n {namespace} annotate --overwrite gitrepository/app reconcile.fluxcd.io/requestedAt=\"$(date +%s)\""
        ));
        say(&format!(
            "  {kubectl} -n {namespace} get gitrepositories,kustomizations,all"
        ));
        say(&format!(
            "  export KUBECONFIG={}   # for kubectl, flux or k9s of your own",
            flux.namespace.cluster().kubeconfig().display()
        ));
    } else {
        say("cargo demo --stay        keeps it running, to push commits of your own");
        say(".ci/run                  runs all tests");
        say(
            "manifests/install        installs the controllers on a cluster of yours: kubectl apply -k manifests/install",
        );
    }
    say(
        "cargo run -p kind-tests --bin cluster -- down   ends the cluster (it ends by itself after an hour without use)",
    );
    say("CONTRIBUTING.md          says how to build, test, debug and profile");
}
