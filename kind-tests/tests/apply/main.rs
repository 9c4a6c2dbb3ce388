//! Applying, pruning and waiting (`shared/apply`), on a real API server.

mod applying;
mod ending;
mod normalising;
mod ownership;
mod recreating;
mod staging;

use flux_apply::{Memory, Options, PruneOptions, apply_in_stages, normalise, parse};
use flux_cluster::{Cluster as Target, Object, managers};
use kind_tests::{CONFIG_MAP, Cluster, Doing, Failure, Kind, Namespace, Result};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

const MANAGER: &str = "kustomize-controller";
const GROUP: &str = "kustomize.toolkit.fluxcd.io";

/// A namespace, a cluster with its own user, and the state of the applier.
struct Bench {
    namespace: Namespace,
    user: String,
    target: Target,
    memory: Memory,
}

impl Bench {
    async fn new(topic: &str) -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let namespace = Namespace::create(&cluster, topic).await?;
        let user = format!("{}-applier", namespace.name());
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig_for(&user)?)?;
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let target = Target::new(Client::try_from(config)?, MANAGER);
        Ok(Self {
            namespace,
            user,
            target,
            memory: Memory::default(),
        })
    }

    /// The names of the namespace's ConfigMaps, except the one that the cluster adds to every namespace at some point.
    async fn config_maps(&self) -> Result<Vec<String>> {
        let mut names = self.namespace.names(CONFIG_MAP).await?;
        names.retain(|name| name != "kube-root-ca.crt");
        Ok(names)
    }

    /// The objects of a YAML text with the owner's labels, as in the manifests.
    fn manifests(&self, yaml: &str) -> Result<Vec<Object>> {
        let text = yaml.replace("${namespace}", self.namespace.name());
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).doing("read the test's YAML")?;
        let mut objects = parse::objects(documents);
        let (name, namespace) = (self.namespace.name().to_owned(), "flux".to_owned());
        for object in &mut objects {
            let keys = [format!("{GROUP}/name"), format!("{GROUP}/namespace")];
            object.set_metadata(
                flux_cluster::Metadata::Labels,
                keys.iter().zip([&name, &namespace]),
            );
        }
        Ok(objects)
    }

    /// The objects of a YAML text, normalised.
    fn objects(&self, yaml: &str) -> Result<Vec<Object>> {
        let mut objects = self.manifests(yaml)?;
        objects.iter_mut().for_each(normalise::normalise);
        Ok(objects)
    }

    fn selector(&self) -> String {
        format!(
            "{GROUP}/name={},{GROUP}/namespace=flux",
            self.namespace.name()
        )
    }

    fn options(&self) -> Options {
        let pair = |key: &str, value: &str| vec![(format!("{GROUP}/{key}"), value.to_owned())];
        let manager = |prefix: &str, operation| managers::FieldManager {
            prefix: prefix.to_owned(),
            exact: false,
            operation,
        };
        Options {
            exclusions: [pair("reconcile", "disabled"), pair("ssa", "Ignore")].concat(),
            if_not_present: pair("ssa", "IfNotPresent"),
            force_selector: pair("force", "Enabled"),
            cleanup: managers::Cleanup {
                annotations: vec!["kubectl.kubernetes.io/last-applied-configuration".to_owned()],
                managers: vec![manager("kubectl", managers::Operation::Update)],
                exclusions: pair("ssa", "Merge"),
                ..managers::Cleanup::default()
            },
            concurrency: 4,
            known_by: Some(self.selector()),
            ..Options::default()
        }
    }

    fn prune_options(&self) -> PruneOptions {
        PruneOptions {
            owned_by: vec![
                (format!("{GROUP}/name"), self.namespace.name().to_owned()),
                (format!("{GROUP}/namespace"), "flux".to_owned()),
            ],
            exclusions: vec![
                (format!("{GROUP}/prune"), "disabled".to_owned()),
                (format!("{GROUP}/reconcile"), "disabled".to_owned()),
                (format!("{GROUP}/ssa"), "Ignore".to_owned()),
            ],
        }
    }

    async fn apply_with(&mut self, yaml: &str, options: &Options) -> Result<String> {
        let objects = self.objects(yaml)?;
        let changes = apply_in_stages(&self.target, &objects, options, &mut self.memory).await?;
        Ok(changes.to_string().replace(self.namespace.name(), "ns"))
    }

    async fn apply(&mut self, yaml: &str) -> Result<String> {
        let options = self.options();
        self.apply_with(yaml, &options).await
    }

    /// The error of applying.
    async fn refused(&mut self, yaml: &str, options: &Options) -> Result<String> {
        match self.apply_with(yaml, options).await {
            Ok(changes) => Err(Failure::new(format!("was applied: {changes}"))),
            Err(error) => Ok(error.to_string().replace(self.namespace.name(), "ns")),
        }
    }

    async fn uid(&self, kind: Kind, name: &str) -> Result<String> {
        let object = self.namespace.get(kind, name).await?.unwrap_or_default();
        Ok(object["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }
}

fn config_map(name: &str, extra: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: '${{namespace}}'{extra}}}, data: {{k: v}}}}\n"
    )
}
