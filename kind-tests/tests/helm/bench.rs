//! Shared by the scenarios: a namespace, a chart, our releaser and the helm command.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flux_cluster::Cluster as Target;
use flux_errors::chain;
use flux_helm::action::{
    Action, ApplyMethod, Draft, InstallOptions, RollbackOptions, UninstallOptions, UpgradeOptions,
};
use flux_helm::{Chart, File, ParsedChart, Release, RenderOptions, Status, load_values};
use flux_release::{FIELD_MANAGER, Options, PerformError, Performed, Releaser, now, render};
use kind_tests::helm_cli::{self, Helm};
use kind_tests::requests::Counter;
use kind_tests::{Cluster, Doing, Failure, Namespace, Result, ensure};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

/// A namespace, and a release `web` of a chart in it.
pub(crate) struct Bench {
    pub(crate) namespace: Namespace,
    pub(crate) chart: ParsedChart,
    pub(crate) options: Options,
    pub(crate) method: ApplyMethod,
    files: Vec<(String, String)>,
    user: String,
    target: Target,
}

/// A chart `web` with these templates.
pub(crate) fn files<'f>(templates: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let chart = ("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n");
    [&[chart], templates].concat()
}

/// Writes a chart below `folder`.
pub(crate) fn unpack(folder: &Path, files: &[(&str, &str)]) -> Result<PathBuf> {
    let chart = folder.join("web");
    if chart.exists() {
        std::fs::remove_dir_all(&chart)?;
    }
    for (name, data) in files {
        let path = chart.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(&chart))?;
        std::fs::write(path, data)?;
    }
    Ok(chart)
}

fn chart(files: &[(&str, &str)]) -> Result<ParsedChart> {
    let files = files
        .iter()
        .map(|(name, data)| File::new(*name, data.as_bytes().to_vec()));
    Ok(ParsedChart::new(Chart::from_files(files.collect())?))
}

/// A client with its own user for counting, optionally impersonating another one.
async fn client(kubeconfig: PathBuf, user: Option<&str>) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    config.auth_info.impersonate = user.map(ToOwned::to_owned);
    Ok(Client::try_from(config)?)
}

impl Bench {
    pub(crate) async fn new(topic: &str, files: &[(&str, &str)]) -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let namespace = Namespace::create(&cluster, topic).await?;
        let user = format!("{}-releaser", namespace.name());
        let client = client(cluster.kubeconfig_for(&user)?, None).await?;
        let owned = |(name, data): &(&str, &str)| ((*name).to_owned(), (*data).to_owned());
        Ok(Self {
            chart: chart(files)?,
            options: Options {
                timeout: kind_tests::deadline(),
                ..Options::default()
            },
            method: ApplyMethod::ServerSide,
            files: files.iter().map(owned).collect(),
            target: Target::new(client, FIELD_MANAGER),
            user,
            namespace,
        })
    }

    /// Replaces the chart.
    pub(crate) fn change(&mut self, files: &[(&str, &str)]) -> Result {
        self.chart = chart(files)?;
        let owned = |(name, data): &(&str, &str)| ((*name).to_owned(), (*data).to_owned());
        self.files = files.iter().map(owned).collect();
        Ok(())
    }

    pub(crate) fn releaser(&self) -> Releaser {
        let (target, options) = (self.target.clone(), self.options.clone());
        Releaser::new(target, self.namespace.name(), options)
    }

    /// The cluster as seen by our side, optionally impersonating a user.
    pub(crate) async fn target_as(&self, user: Option<&str>) -> Result<Target> {
        let kubeconfig = self.namespace.cluster().kubeconfig_for(&self.user)?;
        let client = client(kubeconfig, user).await?;
        Ok(self.target.acting_as(client))
    }

    /// Counts the requests of our side from now on.
    pub(crate) fn counter(&self) -> Result<Counter> {
        Counter::start(self.namespace.cluster(), &self.user)
    }

    async fn draft(&self, values: &str, revision: i64) -> Result<Draft> {
        let config = load_values(values.as_bytes())?;
        let mut options = RenderOptions::new("web", self.namespace.name());
        options.revision = revision;
        options.is_upgrade = revision > 1;
        let rendered = render(&self.target, self.chart.clone(), config.clone(), options).await?;
        Ok(Draft::new(self.chart.chart(), config, rendered))
    }

    /// Runs an action to its end; the last stored record must be the one that it returns.
    pub(crate) async fn perform(&self, action: Action) -> Result<Performed> {
        let mut last = None;
        let mut stored = |record: &Release| last = Some((record.revision, record.status()));
        let releaser = self.releaser();
        let performing = releaser.perform(action, &mut stored, std::future::pending());
        let performed = self.namespace.wait_for("is performed", performing).await?;
        // A deleted record is not written before.
        if let Some((revision, status)) = last
            && revision == performed.release.revision
            && performed.release.status() != Status::Uninstalled
        {
            ensure!(
                status == performed.release.status(),
                "stored as {status}, ended as {}",
                performed.release.status()
            );
        }
        Ok(performed)
    }

    /// An installation before its first step.
    pub(crate) async fn begin_install(&self, values: &str) -> Result<Action> {
        let mut options = InstallOptions::new("web", self.namespace.name());
        options.apply_method = self.method;
        Box::pin(self.begin(values, options)).await
    }

    async fn begin(&self, values: &str, options: InstallOptions) -> Result<Action> {
        let install = self.releaser().install(options).await;
        let install = install.map_err(|error| Failure::new(chain(&error)))?;
        let draft = self.draft(values, install.revision()).await?;
        Ok(install.start(draft, now()))
    }

    /// Installs, and returns the result whether it failed or not.
    pub(crate) async fn try_install(
        &self,
        values: &str,
        change: impl FnOnce(&mut InstallOptions),
    ) -> Result<Performed> {
        let mut options = InstallOptions::new("web", self.namespace.name());
        options.apply_method = self.method;
        change(&mut options);
        let action = Box::pin(self.begin(values, options)).await?;
        self.perform(action).await
    }

    pub(crate) async fn install_with(
        &self,
        values: &str,
        change: impl FnOnce(&mut InstallOptions),
    ) -> Result<Release> {
        let performed = self.try_install(values, change).await?;
        performed
            .result
            .map_err(|error| Failure::new(chain(&error)))?;
        Ok(performed.release)
    }

    pub(crate) async fn install(&self, values: &str) -> Result<Release> {
        self.install_with(values, |_| {}).await
    }

    /// Upgrades, and returns the result whether it failed or not.
    pub(crate) async fn try_upgrade(
        &self,
        values: &str,
        options: UpgradeOptions,
    ) -> Result<Performed> {
        let upgrade = self.releaser().upgrade("web", options).await;
        let upgrade = upgrade.map_err(|error| Failure::new(chain(&error)))?;
        let draft = self.draft(values, upgrade.revision()).await?;
        self.perform(upgrade.start(draft, now())).await
    }

    pub(crate) async fn upgrade(&self, values: &str) -> Result<Release> {
        let performed = self.try_upgrade(values, UpgradeOptions::default()).await?;
        performed
            .result
            .map_err(|error| Failure::new(chain(&error)))?;
        Ok(performed.release)
    }

    pub(crate) async fn rollback(&self) -> Result<Performed> {
        let (releaser, options) = (self.releaser(), RollbackOptions::default());
        let action = releaser.rollback("web", &options).await;
        let action = action.map_err(|error| Failure::new(chain(&error)))?;
        self.perform(action).await
    }

    pub(crate) async fn uninstall(&self, options: UninstallOptions) -> Result<Performed> {
        let action = self.releaser().uninstall("web", options).await;
        let action = action.map_err(|error| Failure::new(chain(&error)))?;
        self.perform(action).await
    }

    /// The error of installing the chart, without the namespace's name.
    pub(crate) async fn install_error(&self) -> Result<String> {
        let performed = self.try_install("{}", |_| {}).await?;
        let error = performed.result.err();
        let error = error.ok_or_else(|| Failure::new("it was installed"))?;
        Ok(chain(&error).replace(self.namespace.name(), "ns"))
    }

    /// The error of Helm 4 for the same chart, with these arguments.
    pub(crate) fn helm_error(&self, arguments: &[&str]) -> Result<String> {
        let output = self.helm(arguments)?;
        ensure!(!output.status.success(), "helm did it");
        let told = String::from_utf8(output.stderr)?;
        // Its log precedes it.
        let at = told.rfind("Error: ").unwrap_or_default();
        let told = told.get(at..).unwrap_or_default();
        let told = told.trim_end().trim_start_matches("Error: ");
        let told = told.trim_start_matches("INSTALLATION FAILED: ");
        Ok(told.replace(self.namespace.name(), "ns"))
    }

    /// Runs Helm 4, with the chart after the first two arguments.
    pub(crate) fn helm(&self, arguments: &[&str]) -> Result<Output> {
        let files: Vec<(&str, &str)> = self
            .files
            .iter()
            .map(|(name, data)| (name.as_str(), data.as_str()))
            .collect();
        let chart = unpack(&self.namespace.folder(), &files)?;
        let chart = chart.to_string_lossy();
        let (command, rest) = arguments.split_at(2.min(arguments.len()));
        let cli = Cli {
            helm: Helm::V4,
            namespace: &self.namespace,
        };
        cli.output(&[command, &[chart.as_ref()], rest].concat())
    }
}

/// The helm command in a namespace.
pub(crate) struct Cli<'n> {
    pub(crate) helm: Helm,
    pub(crate) namespace: &'n Namespace,
}

impl Cli<'_> {
    pub(crate) fn output(&self, arguments: &[&str]) -> Result<Output> {
        let folder = self.namespace.folder();
        std::fs::create_dir_all(&folder)?;
        Ok(Command::new(helm_cli::program(self.helm)?)
            .args(arguments)
            .args(["--namespace", self.namespace.name()])
            .env("KUBECONFIG", self.namespace.cluster().kubeconfig())
            .env("HELM_CACHE_HOME", folder.join("helm/cache"))
            .env("HELM_CONFIG_HOME", folder.join("helm/config"))
            .env("HELM_DATA_HOME", folder.join("helm/data"))
            .current_dir(folder)
            .output()?)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments)?;
        let told = String::from_utf8(output.stdout)?;
        ensure!(
            output.status.success(),
            "{:?} {} ended with {}:\n{told}{}",
            self.helm,
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(told)
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let told = self.run(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&told).doing(format!("read helm's answer {told:?}"))
    }
}

/// The text of a failure; empty without one.
pub(crate) fn failure(result: std::result::Result<(), PerformError>) -> String {
    result.map_or_else(|error| chain(&error), |()| String::new())
}
