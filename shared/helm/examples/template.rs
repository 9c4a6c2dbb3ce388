//! `helm template` implemented with this library, for comparisons: the same text on stdout, errors on stderr.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use clap::Parser;
use flux_errors::chain;
use flux_gotemplate::{CallError, Environment, Time};
use flux_helm::action::{History, Install, InstallOptions};
use flux_helm::{ApiVersionError, Chart, KubeVersion, RenderOptions, ValueOptions, render};
use flux_tree::{Entry, Tree, TreePath};

/// Render a chart.
#[derive(Parser)]
struct Arguments {
    /// The release's name.
    release: String,
    /// A chart's folder or archive.
    chart: PathBuf,
    /// The release's namespace.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Print the definitions in crds/ too.
    #[arg(long)]
    include_crds: bool,
    /// A file of values.
    #[arg(short = 'f', long = "values", value_delimiter = ',')]
    files: Vec<String>,
    /// One value: `path=value`.
    #[arg(long)]
    set: Vec<String>,
    /// One value that stays text.
    #[arg(long)]
    set_string: Vec<String>,
    /// One value in JSON.
    #[arg(long)]
    set_json: Vec<String>,
    /// One value from a file.
    #[arg(long)]
    set_file: Vec<String>,
    /// One value, taken literally.
    #[arg(long)]
    set_literal: Vec<String>,
    /// The version of Kubernetes.
    #[arg(long)]
    kube_version: Option<String>,
    /// An additional API version of the cluster.
    #[arg(short, long, value_delimiter = ',')]
    api_versions: Vec<String>,
    /// Render as for an upgrade.
    #[arg(long)]
    is_upgrade: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("Error: {text}");
            ExitCode::FAILURE
        }
    }
}

/// The output for these arguments, the program's name first; warnings are written to stderr at once.
///
/// # Errors
/// The text for stderr.
#[allow(dead_code)] // for tests that take this file as a module
pub(crate) fn output(arguments: &[&str]) -> Result<String, String> {
    run(&Arguments::try_parse_from(arguments).map_err(|e| e.to_string())?)
}

fn run(arguments: &Arguments) -> Result<String, String> {
    let mut options = RenderOptions::new(&arguments.release, &arguments.namespace);
    if let Some(version) = &arguments.kube_version {
        options.capabilities.kube_version = KubeVersion::parse(version)
            .map_err(|e| format!("invalid kube version '{version}': {e}"))?;
    }
    options
        .capabilities
        .api_versions
        .extend(arguments.api_versions.iter().cloned());
    options.is_upgrade = arguments.is_upgrade;
    options.environment = Arc::new(System);

    let values = values(arguments)?;
    let chart = load(&arguments.chart)?;
    chart
        .metadata
        .check_api_version()
        .map_err(|error| match error {
            ApiVersionError::V3 => "invalid chart apiVersion".to_owned(),
            ApiVersionError::Unknown => error.to_string(),
        })?;
    chart.check_installable().map_err(|e| e.to_string())?;
    let history = History::new([]);
    let install = InstallOptions::new(&arguments.release, &arguments.namespace);
    Install::check(&history, install).map_err(|e| chain(&e))?;
    let rendered = render(&chart, &values, &options).map_err(|e| {
        let hint = if e.is_late() {
            "\n\nUse --debug flag to render out invalid YAML"
        } else {
            ""
        };
        format!("{}{hint}", chain(&e))
    })?;
    for warning in &rendered.warnings {
        eprintln!("{warning}");
    }
    Ok(rendered.template_output(arguments.include_crds))
}

fn values(arguments: &Arguments) -> Result<flux_helm::Values, String> {
    let mut options = ValueOptions {
        set: arguments.set.clone(),
        set_string: arguments.set_string.clone(),
        set_json: arguments.set_json.clone(),
        set_file: arguments.set_file.clone(),
        set_literal: arguments.set_literal.clone(),
        ..ValueOptions::default()
    };
    for name in &arguments.files {
        let text = match name.trim() {
            "-" => io::read_to_string(io::stdin()).map(String::into_bytes),
            _ => fs::read(name),
        };
        let text = text.map_err(|e| not_read(name, &e))?;
        options.files.push((name.clone(), text));
    }
    let mut read = |name: &str| fs::read_to_string(name).map_err(|e| not_read(name, &e));
    options.merge(&mut read).map_err(|e| chain(&e))
}

fn not_read(name: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("open {name}: no such file or directory"),
        _ => format!("read {name}: {error}"),
    }
}

fn load(path: &Path) -> Result<Chart, String> {
    let shown = path.display().to_string();
    if path.is_dir() {
        let mut tree = Tree::new();
        read_folder(path, &TreePath::root(), &mut tree).map_err(|e| format!("{shown}: {e}"))?;
        return Chart::from_tree(&tree, &TreePath::root()).map_err(|e| chain(&e));
    }
    let bytes = fs::read(path).map_err(|_| format!("path \"{shown}\" not found"))?;
    Chart::from_archive(&bytes).map_err(|e| chain(&e))
}

fn read_folder(folder: &Path, at: &TreePath, into: &mut Tree) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let path = at.join(&name.to_string_lossy()).map_err(io::Error::other)?;
        // Symbolic links are followed, as in Helm.
        let kind = fs::metadata(entry.path())?;
        if kind.is_dir() {
            into.insert(path.clone(), Entry::Directory)
                .map_err(io::Error::other)?;
            read_folder(&entry.path(), &path, into)?;
        } else {
            let content = fs::read(entry.path())?;
            into.insert_file(path, content, false)
                .map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// The clock and the random numbers of the system.
struct System;

impl Environment for System {
    fn now(&self) -> Time {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Time::unix(
            i64::try_from(since.as_secs()).unwrap_or_default(),
            since.subsec_nanos(),
        )
    }

    fn random(&self, buffer: &mut [u8]) -> Result<(), CallError> {
        use std::io::Read;
        let mut source =
            fs::File::open("/dev/urandom").map_err(|e| CallError::new(e.to_string()))?;
        source
            .read_exact(buffer)
            .map_err(|e| CallError::new(e.to_string()))
    }
}
