//! The real `flux` command.

use std::path::{Path, PathBuf};
use std::process::Command;

use kind_tests::{Cluster, Result, ensure, flux_cli};

/// The command with a kubeconfig and a namespace.
pub(crate) struct Flux {
    kubeconfig: PathBuf,
    namespace: String,
    env: Vec<(String, String)>,
}

/// What a command printed, and how it ended.
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Told {
    /// Everything that it printed.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Flux {
    /// As this user, in this namespace.
    pub(crate) fn new(cluster: &Cluster, user: &str, namespace: &str) -> Result<Self> {
        Ok(Self {
            kubeconfig: cluster.kubeconfig_for(user)?,
            namespace: namespace.to_owned(),
            env: Vec::new(),
        })
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Runs it without a namespace and a timeout.
    pub(crate) fn plain(&self, arguments: &[&str]) -> Result<Told> {
        self.within(Path::new("."), arguments)
    }

    /// As [`Flux::plain`], in this folder.
    pub(crate) fn within(&self, folder: &Path, arguments: &[&str]) -> Result<Told> {
        let output = Command::new(flux_cli::program()?)
            .args(arguments)
            .current_dir(folder)
            .env("KUBECONFIG", &self.kubeconfig)
            .envs(self.env.iter().cloned())
            .output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Told {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }

    /// Runs it in the namespace.
    pub(crate) fn attempt(&self, arguments: &[&str]) -> Result<Told> {
        let common = ["--namespace", &self.namespace];
        let timeout = ["--timeout", "90s"];
        let has_timeout = arguments.contains(&"--timeout");
        let timeout = if has_timeout { &[][..] } else { &timeout };
        self.plain(&[arguments, &common, timeout].concat())
    }

    /// As [`Flux::attempt`]; what it printed, if it succeeded.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String> {
        let told = self.attempt(arguments)?;
        ensure!(
            told.code == Some(0),
            "flux {} ended with {:?}:\n{}",
            arguments.join(" "),
            told.code,
            told.text()
        );
        Ok(told.text())
    }

    /// What it printed if it failed.
    pub(crate) fn fails(&self, arguments: &[&str]) -> Result<String> {
        let told = self.attempt(arguments)?;
        ensure!(
            told.code == Some(1),
            "flux {} ended with {:?}:\n{}",
            arguments.join(" "),
            told.code,
            told.text()
        );
        Ok(told.text())
    }
}

/// The cells of the row of a table that begins with this name.
pub(crate) fn row(table: &str, name: &str) -> Vec<String> {
    let line = table
        .lines()
        .find(|line| line.split('\t').next().unwrap_or_default().trim() == name);
    // The command ends each row with a tab.
    let cells = line.unwrap_or_default().trim_end().split('\t');
    cells.map(|cell| cell.trim().to_owned()).collect()
}
