//! The requests of our side to the API server, compared with Helm's for the same action.

use flux_helm::action::UninstallOptions;
use kind_tests::helm_cli::Helm;
use kind_tests::requests::{Counter, Request};
use kind_tests::{Result, ensure};

use crate::bench::{Bench, Cli, files, unpack};

const OBJECTS: &str = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: b}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {is: '{{ .Values.is }}'}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: web, image: example.com/web}]}\n";

/// The number of requests by verb, discovery excluded.
fn verbs(requests: &[Request]) -> String {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for request in requests {
        let verb = if request.resource.is_empty() {
            "discovery"
        } else {
            request.verb.as_str()
        };
        *counts.entry(verb).or_default() += 1;
    }
    format!("{} {counts:?}", requests.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actions_send_no_more_requests_than_helm() -> Result {
    let files = files(&[("templates/all.yaml", OBJECTS)]);
    let ours = Bench::new("helm-requests", &files).await?;
    let theirs = Bench::new("helm-requests-helm", &files).await?;
    let cluster = theirs.namespace.cluster();
    let user = format!("{}-helm", theirs.namespace.name());
    let kubeconfig = cluster.kubeconfig_for(&user)?;
    let kubeconfig = kubeconfig.to_string_lossy();
    let chart = unpack(&theirs.namespace.folder(), &files)?;
    let chart = chart.to_string_lossy();
    let cli = Cli {
        helm: Helm::V4,
        namespace: &theirs.namespace,
    };
    for action in ["install", "upgrade", "uninstall"] {
        let (our, their) = (ours.counter()?, Counter::start(cluster, &user)?);
        let mut arguments = vec![action, "web", "--wait", "--kubeconfig", &kubeconfig];
        let is = format!("is={action}");
        if action != "uninstall" {
            arguments.extend([chart.as_ref(), "--set", &is]);
        }
        cli.run(&arguments)?;
        let values = format!("is: {action}\n");
        match action {
            "install" => ours.install(&values).await.map(drop)?,
            "upgrade" => ours.upgrade(&values).await.map(drop)?,
            _ => {
                let gone = ours.uninstall(UninstallOptions::default()).await?;
                ensure!(gone.result.is_ok(), "{:?}", gone.result);
            }
        }
        let (our, their) = (our.requests()?, their.requests()?);
        println!("{action}: ours {}, helm {}", verbs(&our), verbs(&their));
        ensure!(
            our.len() <= their.len(),
            "{action}: ours {}, helm {}\n{our:#?}",
            verbs(&our),
            verbs(&their)
        );
    }
    Ok(())
}
