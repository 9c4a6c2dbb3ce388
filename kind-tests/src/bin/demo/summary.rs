//! The end of the demo: its objects as a table, and what to try next.

use kind_tests::{
    ARTIFACT_GENERATOR, EXTERNAL_ARTIFACT, GIT_REPOSITORY, HELM_CHART, HELM_RELEASE,
    HELM_REPOSITORY, IMAGE_POLICY, IMAGE_REPOSITORY, IMAGE_UPDATE_AUTOMATION, KUSTOMIZATION, Kind,
    OCI_REPOSITORY, Result, condition, ensure,
};
use serde_json::Value;

use crate::follow::revision;
use crate::screen::{say, short, table, text};
use crate::stage::Stage;

/// Alerts that have to arrive: about which kind, and with which words.
const ALERTS: [(Kind, &str); 8] = [
    (GIT_REPOSITORY, "stored artifact for commit"),
    (OCI_REPOSITORY, "stored artifact with revision '1.1.0@"),
    (HELM_CHART, "with version '1.1.0'"),
    (KUSTOMIZATION, "Deployment/"),
    (HELM_RELEASE, "Helm upgrade succeeded"),
    (ARTIFACT_GENERATOR, ""),
    (IMAGE_POLICY, "resolved to 3.10.1"),
    (IMAGE_UPDATE_AUTOMATION, "pushed commit"),
];

/// Prints how many alerts have arrived, when each step has been told of.
pub(crate) async fn alerts(stage: &Stage) -> Result {
    for (kind, words) in ALERTS {
        stage.chat.wait(kind, words).await?;
    }
    stage.chat.check()?;
    let counts = stage.chat.counts();
    let rows: Vec<Vec<String>> = counts
        .iter()
        .map(|(kind, count)| vec![kind.clone(), count.to_string()])
        .collect();
    table(&["ALERTS ABOUT", "RECEIVED"], &rows);
    Ok(())
}

/// Prints all objects, which have to be ready.
pub(crate) async fn objects(stage: &Stage) -> Result {
    let chart = format!("{}-frontend", stage.namespace.name());
    let all = [
        (GIT_REPOSITORY, "app"),
        (OCI_REPOSITORY, "policies"),
        (OCI_REPOSITORY, "hello"),
        (HELM_REPOSITORY, "charts"),
        (HELM_CHART, chart.as_str()),
        (ARTIFACT_GENERATOR, "prod"),
        (EXTERNAL_ARTIFACT, "prod"),
        (KUSTOMIZATION, "app"),
        (KUSTOMIZATION, "policies"),
        (KUSTOMIZATION, "prod"),
        (HELM_RELEASE, "frontend"),
        (HELM_RELEASE, "backend"),
        (IMAGE_REPOSITORY, "pause"),
        (IMAGE_POLICY, "pause"),
        (IMAGE_UPDATE_AUTOMATION, "app"),
    ];
    let mut rows = Vec::new();
    let mut unready = Vec::new();
    for (kind, name) in all {
        let object = stage.namespace.get(kind, name).await?.unwrap_or_default();
        let ready = ready(&object);
        if ready != "True" {
            unready.push(format!("{}/{name}", kind.1));
        }
        let seen = stage.seen.borrow();
        let took = seen.get(&(kind, name.to_owned()));
        rows.push(vec![
            name.to_owned(),
            kind.1.to_owned(),
            short(&revision(kind, &object)),
            ready,
            took.map_or_else(String::new, |(_, took)| {
                format!("{:.2} s", took.as_secs_f64())
            }),
        ]);
    }
    table(&["OBJECT", "KIND", "REVISION", "READY", "TIME"], &rows);
    say("(the time from the last change to the object's being ready with it)");
    ensure!(unready.is_empty(), "not ready: {}", unready.join(", "));
    Ok(())
}

fn ready(object: &Value) -> String {
    condition(object, "Ready").map_or_else(String::new, |ready| text(&ready["status"]))
}

/// Prints what to do next.
pub(crate) fn next(stage: &Stage, stay: bool) {
    let namespace = stage.namespace.name();
    let kubectl = "cargo run -q -p kind-tests --bin cluster -- kubectl";
    if stay {
        say("Everything runs on until you press Ctrl-C. In another terminal:");
        say(&format!("  git clone {} && cd app", stage.repository()));
        say(
            "  edit deploy/, commit and push: it is applied within ten seconds, and alerts appear here",
        );
        for (command, what) in [
            (
                "get gitrepositories,ocirepositories,kustomizations,helmreleases",
                "shows the objects",
            ),
            ("edit helmrelease/backend", "to change its values"),
            (
                "delete deployment/web",
                "to have it applied again at the next run, or by:",
            ),
            (
                "annotate --overwrite kustomization/app reconcile.fluxcd.io/requestedAt=\"$(date +%s)\"",
                "",
            ),
        ] {
            say(format!("  {kubectl} -n {namespace} {command}   {what}").trim_end());
        }
        say(&format!(
            "  export KUBECONFIG={}   # for kubectl, flux or k9s of your own",
            stage.namespace.cluster().kubeconfig().display()
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
