//! Flags as Go's flag library parses them (RT-FLG rows), and groups of flags that controllers share (RT-FLM rows).
//!
//! A controller flattens the groups that it supports into its own `clap` struct and parses it with [`parse`]. A field
//! of type `bool` becomes a boolean flag as in Go; `#[arg(long)]` is all that it needs.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::OsStr;
use clap::parser::ValueSource;
use clap::{ArgAction, Args, Parser};
use flux_selector::Selector;

pub use crate::values::{parse_bool, parse_count, parse_duration, parse_int};
use crate::values::{parse_byte, parse_retries};

/// The names of the flags that the command line sets, whatever their values.
#[derive(Clone, Debug, Default)]
pub struct Given(BTreeSet<String>);

impl Given {
    /// Whether the command line sets the flag of this name.
    pub fn contains(&self, flag: &str) -> bool {
        self.0.contains(flag)
    }
}

/// Parses the command line of this process; also returns the names of the flags that it sets.
///
/// `defaults` are the defaults, by flag name, in which this controller differs from the groups (RT-FLM). A usage error
/// is printed and ends the process with code 2, `--help` with 0 (RT-FLG-009).
pub fn parse<F: Parser>(defaults: &[(&str, String)]) -> (F, Given) {
    parse_words(defaults, std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// As [`parse`], for the given arguments, of which the first is the program's name.
pub fn parse_from<F: Parser>(
    defaults: &[(&str, String)],
    words: impl IntoIterator<Item = std::ffi::OsString>,
) -> Result<F, clap::Error> {
    parse_words(defaults, words).map(|(flags, _)| flags)
}

fn parse_words<F: Parser>(
    defaults: &[(&str, String)],
    words: impl IntoIterator<Item = std::ffi::OsString>,
) -> Result<(F, Given), clap::Error> {
    let mut command = F::command()
        .args_override_self(true)
        .disable_help_subcommand(true);
    for (name, value) in defaults {
        let value = OsStr::from(value.clone());
        command = command.mut_arg((*name).replace('-', "_"), |arg| arg.default_value(value));
    }
    command = command.mut_args(|arg| if is_bool(&arg) { go_bool(arg) } else { arg });
    command = command.mut_args(|arg| match kind(&arg) {
        Some(kind) => arg.value_name(kind),
        None => arg,
    });
    // As in Go's flag library, `--help` shows no empty default.
    command = command.mut_args(|arg| {
        let empty = arg
            .get_default_values()
            .iter()
            .all(|value| value.is_empty());
        arg.hide_default_value(empty)
    });
    // Positional arguments are ignored (RT-FLG-010, RT-FLG-002).
    command = command.arg(clap::Arg::new("ignored").num_args(0..).hide(true));
    let mut matches = command.try_get_matches_from_mut(words)?;
    let given = command.get_arguments().filter_map(|arg| {
        let source = matches.value_source(arg.get_id().as_str());
        (source == Some(ValueSource::CommandLine)).then(|| arg.get_long().map(str::to_owned))?
    });
    let given = Given(given.collect());
    Ok((F::from_arg_matches_mut(&mut matches)?, given))
}

fn is_bool(arg: &clap::Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<bool>()
        && matches!(arg.get_action(), ArgAction::Set | ArgAction::SetTrue)
}

/// A boolean flag as in Go's flag library: `--flag`, `--flag=true` or `--flag=false`; a separate argument is not its
/// value (RT-FLG-003). False unless a default is given.
fn go_bool(arg: clap::Arg) -> clap::Arg {
    let has_default = !arg.get_default_values().is_empty();
    let arg = arg
        .action(ArgAction::Set)
        .value_parser(parse_bool)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true");
    if has_default {
        arg
    } else {
        arg.default_value("false")
    }
}

/// The type of a flag as `--help` shows it, by the name that Go's flag library uses.
fn kind(arg: &clap::Arg) -> Option<&'static str> {
    let id = arg.get_value_parser().type_id();
    let named = |kinds: &[TypeId]| kinds.iter().any(|kind| id == *kind);
    let text = named(&[TypeId::of::<String>(), TypeId::of::<PathBuf>()]);
    match arg.get_action() {
        ArgAction::Append if text && arg.get_value_delimiter().is_some() => Some("strings"),
        ArgAction::Append if text => Some("stringArray"),
        ArgAction::Append => Some("mapStringBool"),
        ArgAction::Set if text => Some("string"),
        ArgAction::Set | ArgAction::SetTrue if named(&[TypeId::of::<bool>()]) => Some("bool"),
        ArgAction::Set if named(&[TypeId::of::<Duration>()]) => Some("duration"),
        ArgAction::Set if named(&[TypeId::of::<f32>()]) => Some("float32"),
        ArgAction::Set if named(&[TypeId::of::<u8>()]) => Some("uint8"),
        ArgAction::Set if named(&[TypeId::of::<u16>()]) => Some("uint16"),
        ArgAction::Set if named(&[TypeId::of::<i64>()]) => Some("int64"),
        ArgAction::Set
            if named(&[
                TypeId::of::<usize>(),
                TypeId::of::<isize>(),
                TypeId::of::<u32>(),
            ]) =>
        {
            Some("int")
        }
        _ => None,
    }
}

/// The value of an environment variable that provides a flag's default; an empty one counts as unset (RT-FLG-012).
pub fn env_or(variable: &str, default: &str) -> String {
    std::env::var(variable)
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| default.to_owned())
}

/// The flags that every controller has.
#[derive(Args, Clone, Debug)]
pub struct ManagerFlags {
    /// The address that the metrics endpoint listens on.
    #[arg(long, default_value = ":8080")]
    pub metrics_addr: String,
    /// The address that the health endpoint listens on.
    #[arg(long, default_value = ":9440")]
    pub health_addr: String,
    /// The address of the events receiver, usually the notification-controller.
    #[arg(long, default_value = "")]
    pub events_addr: String,
    /// The number of concurrent reconciles per kind.
    #[arg(long, default_value = "4", value_parser = parse_count, allow_hyphen_values = true)]
    pub concurrent: usize,
    /// The maximum requests per second to the API server, if it has no priority and fairness.
    #[arg(long, default_value = "50")]
    pub kube_api_qps: f32,
    /// The burst of requests to the API server, if it has no priority and fairness.
    #[arg(long, default_value = "300", value_parser = parse_count, allow_hyphen_values = true)]
    pub kube_api_burst: usize,
    /// The log encoding: json or console.
    #[arg(long, default_value = "json")]
    pub log_encoding: String,
    /// The log level: trace, debug, info or error.
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// Whether replicas elect a leader, so that only one is active.
    #[arg(long)]
    pub enable_leader_election: bool,
    /// Whether the leader releases the Lease when it shuts down.
    #[arg(long, default_value = "true")]
    pub leader_election_release_on_cancel: bool,
    /// How long other replicas wait for a Lease that is not renewed.
    #[arg(long, default_value = "35s", value_parser = parse_duration)]
    pub leader_election_lease_duration: Duration,
    /// How long the leader retries to renew its Lease before it stops leading.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub leader_election_renew_deadline: Duration,
    /// The pause between attempts to acquire or renew the Lease.
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    pub leader_election_retry_period: Duration,
    /// The initial delay of the backoff after a failed reconcile.
    #[arg(long, default_value = "750ms", value_parser = parse_duration)]
    pub min_retry_delay: Duration,
    /// The maximum delay of the backoff after failed reconciles.
    #[arg(long, default_value = "15m", value_parser = parse_duration)]
    pub max_retry_delay: Duration,
    /// Feature gates as `Name=bool`, comma separated.
    #[arg(long, value_parser = crate::gates::parse, action = clap::ArgAction::Append)]
    pub feature_gates: Vec<Vec<(String, bool)>>,
    /// Whether to watch all namespaces, or only the controller's own.
    #[arg(long, default_value = "true")]
    pub watch_all_namespaces: bool,
    /// A label selector for the Secrets and ConfigMaps whose changes trigger a reconcile.
    #[arg(long, default_value = "reconcile.fluxcd.io/watch=Enabled")]
    pub watch_configs_label_selector: String,
}

/// Sharding: all controllers but notification-controller.
#[derive(Args, Clone, Debug, Default)]
pub struct SelectorFlags {
    /// A label selector for the objects that this controller reconciles.
    #[arg(long, default_value = "")]
    pub watch_label_selector: String,
}

/// Spread of intervals: source-, kustomize-, helm-controller and source-watcher.
#[derive(Args, Clone, Debug)]
pub struct JitterFlags {
    /// The jitter of intervals as a percentage.
    #[arg(long, default_value = "5", value_parser = parse_byte, allow_hyphen_values = true)]
    pub interval_jitter_percentage: u8,
}

/// Dependencies: source-, kustomize-, helm-, image-reflector-controller and source-watcher.
#[derive(Args, Clone, Debug)]
pub struct DependencyFlags {
    /// The delay before an object with an unready dependency is reconciled again.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub requeue_dependency: Duration,
}

/// The download of artifacts: kustomize-, helm-controller and source-watcher.
#[derive(Args, Clone, Debug)]
pub struct DownloadFlags {
    /// How often the download of an artifact is tried again.
    #[arg(long, default_value = "9", value_parser = parse_retries, allow_hyphen_values = true)]
    pub http_retry: u32,
}

/// Fields of other managers: kustomize-, helm-controller and source-watcher.
#[derive(Args, Clone, Debug, Default)]
pub struct TakeoverFlags {
    /// A field manager whose fields are taken over. May be repeated.
    #[arg(long, action = clap::ArgAction::Append)]
    pub override_manager: Vec<String>,
}

/// Where artifacts are kept and served: source-controller and source-watcher.
#[derive(Args, Clone, Debug)]
pub struct StorageFlags {
    /// The folder in which artifacts are stored.
    #[arg(long, default_value = "/data")]
    pub storage_path: PathBuf,
    /// The address that the artifact server listens on.
    #[arg(long, default_value = ":9090")]
    pub storage_addr: String,
    /// The advertised host of artifact URLs.
    #[arg(long, default_value = "")]
    pub storage_adv_addr: String,
    /// How long artifacts are kept after they were replaced.
    #[arg(long, default_value = "1m", value_parser = parse_duration)]
    pub artifact_retention_ttl: Duration,
    /// The maximum number of artifacts kept per object.
    #[arg(long, default_value = "2", value_parser = parse_count, allow_hyphen_values = true)]
    pub artifact_retention_records: usize,
    /// The algorithm of artifact digests.
    #[arg(long, default_value = "sha256")]
    pub artifact_digest_algo: String,
}

/// Git over SSH: source-controller and image-automation-controller.
#[derive(Args, Clone, Debug, Default)]
pub struct SshFlags {
    /// The key exchange algorithms, the most preferred first.
    #[arg(long, value_delimiter = ',', action = clap::ArgAction::Append)]
    pub ssh_kex_algos: Vec<String>,
    /// The host key algorithms, the most preferred first.
    #[arg(long, value_delimiter = ',', action = clap::ArgAction::Append)]
    pub ssh_hostkey_algos: Vec<String>,
}

/// Validates a label selector by Kubernetes' grammar (RT-WAT-005, RT-WAT-007).
///
/// # Errors
/// The selector is invalid; the error contains its text.
pub fn check_selector(text: &str) -> Result<(), String> {
    match Selector::parse(text) {
        Ok(_) => Ok(()),
        Err(why) => Err(format!("unable to parse label selector '{text}': {why}")),
    }
}

#[cfg(test)]
mod tests;
