//! `docs/reference` lists the flags of the controllers, generated from `--help`, and all environment variables.
//!
//! `FLUX_GOLDEN=write cargo test -p kind-tests --test reference` rewrites the pages.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use kind_tests::{Doing, Result, cache, controller, ensure};

const CONTROLLERS: [&str; 7] = [
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-automation-controller",
    "image-reflector-controller",
    "source-watcher",
];

/// Which store artifacts.
const STORES: &[&str] = &["source-controller", "source-watcher"];

/// Where proxies and traces are configured, in every controller.
const ALL: &[&str] = &CONTROLLERS;

/// Whose objects have identities of AWS.
const AWS: &[&str] = &[
    "source-controller",
    "kustomize-controller",
    "image-automation-controller",
    "image-reflector-controller",
    "helm-controller",
];

/// Whose objects have identities of Azure and Google Cloud.
const CLOUDS: &[&str] = &[
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
];

/// Whose objects have identities of Azure: these, and those that log in to Git hosts.
const AZURE: &[&str] = &[
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
    "image-automation-controller",
];

/// An environment variable, the controllers that read it, and what it does.
struct Variable {
    name: &'static str,
    controllers: &'static [&'static str],
    effect: &'static str,
}

const fn variable(
    name: &'static str,
    controllers: &'static [&'static str],
    effect: &'static str,
) -> Variable {
    Variable {
        name,
        controllers,
        effect,
    }
}

const VARIABLES: &[Variable] = &[
    variable(
        "RUNTIME_NAMESPACE",
        ALL,
        "The namespace that the controller runs in: that of its Lease, and the only one watched with `--watch-all-namespaces=false`.",
    ),
    variable(
        "FLUX_RESOURCE_METRICS",
        ALL,
        "`true` adds the metric `gotk_resource_info`, the state of each object with the labels that kube-state-metrics gives it.",
    ),
    variable(
        "FLUX_PROGRESS_AT_ONCE",
        ALL,
        "`true` writes what a run is at to the status of its object at once, as upstream does; otherwise when the run is a second old.",
    ),
    variable(
        "FLUX_SCHEMA_ALLOW_PRIVATE",
        &["helm-controller"],
        "`true` lets the `values.schema.json` of charts refer to hosts that are loopback, link-local or private.",
    ),
    variable(
        "METRICS_ADDR",
        &["source-controller"],
        "The default of `--metrics-addr`.",
    ),
    variable(
        "EVENTS_ADDR",
        &["source-controller"],
        "The default of `--events-addr`.",
    ),
    variable("STORAGE_PATH", STORES, "The default of `--storage-path`."),
    variable(
        "STORAGE_ADDRESS",
        STORES,
        "The default of `--storage-addr`.",
    ),
    variable(
        "STORAGE_ADV_ADDR",
        STORES,
        "The default of `--storage-adv-addr`.",
    ),
    variable(
        "HOSTNAME",
        STORES,
        "The host in the URLs of artifacts where `--storage-adv-addr` is empty and `--storage-addr` names none.",
    ),
    variable(
        "STORAGE_EMULATOR_HOST",
        &["source-controller"],
        "The address of an emulator in place of Google Cloud Storage.",
    ),
    variable(
        "SOURCE_CONTROLLER_LOCALHOST",
        &["kustomize-controller", "helm-controller", "source-watcher"],
        "The host and port that replace those of source-controller's artifact URLs, for a controller outside the cluster; in source-watcher those of all sources.",
    ),
    variable(
        "SOURCE_WATCHER_LOCALHOST",
        &["kustomize-controller", "helm-controller"],
        "The same for the artifacts of source-watcher.",
    ),
    variable(
        "KUSTOMIZE_CORRECT_DRIFT_AT_ONCE",
        &["kustomize-controller"],
        "`true` reconciles a Kustomization as soon as the watch of its objects reports that one was changed or deleted, not at the next interval; the same object at most every 30 seconds. Not on other clusters.",
    ),
    variable(
        "SOPS_AGE_KEY",
        &["kustomize-controller"],
        "age identities for Kustomizations whose Secret has none, separated by blanks.",
    ),
    variable(
        "SOPS_AGE_KEY_FILE",
        &["kustomize-controller"],
        "A file with the same, one per line.",
    ),
    variable(
        "SOPS_AGE_SSH_PRIVATE_KEY_FILE",
        &["kustomize-controller"],
        "A file with an SSH key that is used as an age identity.",
    ),
    variable(
        "XDG_CONFIG_HOME",
        &["kustomize-controller"],
        "The folder with `sops/age/keys.txt`, another file with age identities; `$HOME/.config` by default.",
    ),
    variable(
        "SOPS_HC_VAULT_ALLOWLIST",
        &["kustomize-controller"],
        "The addresses of transit servers that may be asked for data keys, separated by commas; `all` (the default) or `none`.",
    ),
    variable(
        "SOPS_GCP_KMS_ENDPOINT",
        &["kustomize-controller"],
        "The address of Google Cloud KMS.",
    ),
    variable(
        "SOPS_GCP_KMS_UNIVERSE_DOMAIN",
        &["kustomize-controller"],
        "The domain of Google Cloud KMS in place of `googleapis.com`.",
    ),
    variable(
        "AWS_ENDPOINT_URL_KMS",
        &["kustomize-controller"],
        "The address of AWS KMS; `AWS_ENDPOINT_URL` too.",
    ),
    variable(
        "VAULT_TOKEN",
        &["kustomize-controller"],
        "The token for transit servers where a Kustomization has none; `$HOME/.vault-token` by default.",
    ),
    variable(
        "VAULT_NAMESPACE",
        &["kustomize-controller"],
        "The namespace of transit servers.",
    ),
    variable(
        "VAULT_CACERT",
        &["kustomize-controller"],
        "A file with the authorities that transit servers are verified with; `VAULT_CACERT_BYTES` holds them itself.",
    ),
    variable(
        "VAULT_CLIENT_CERT",
        &["kustomize-controller"],
        "A file with the certificate for transit servers; `VAULT_CLIENT_KEY` names its key.",
    ),
    variable(
        "VAULT_SKIP_VERIFY",
        &["kustomize-controller"],
        "`true` accepts every certificate of transit servers.",
    ),
    variable(
        "VAULT_PROXY_ADDR",
        &["kustomize-controller"],
        "The proxy for transit servers; `VAULT_HTTP_PROXY` too.",
    ),
    variable(
        "BITBUCKET_API_BASE_URL",
        &["notification-controller"],
        "The address of Bitbucket's API, for Providers of the type `bitbucket`.",
    ),
    variable(
        "NOTIFICATION_JOURNAL",
        &["notification-controller"],
        "A folder for the events that are not sent yet, so that a restart loses none. Default: `flux-notification-journal` below the folder for temporary files in a Pod, none elsewhere.",
    ),
    variable(
        "NOTIFICATION_DEDUPLICATE_SIMILAR",
        &["notification-controller"],
        "`true` makes events duplicates of one another whose messages differ in identifiers, times and durations only.",
    ),
    variable(
        "PUBSUB_EMULATOR_HOST",
        &["notification-controller"],
        "The host and port of an emulator of Pub/Sub, for Providers of the type `googlepubsub`.",
    ),
    variable(
        "KUBERNETES_SERVICE_HOST",
        &["notification-controller"],
        "Set by the kubelet: tells a Pod from a process outside of a cluster, for the default of `NOTIFICATION_JOURNAL`.",
    ),
    variable(
        "KUBECONFIG",
        ALL,
        "Kubeconfig files, separated by colons, in place of the pod's service account.",
    ),
    variable(
        "HTTP_PROXY",
        ALL,
        "The proxy for http URLs; `http_proxy` too.",
    ),
    variable(
        "HTTPS_PROXY",
        ALL,
        "The proxy for https URLs; `https_proxy` too.",
    ),
    variable(
        "ALL_PROXY",
        ALL,
        "The proxy for URLs that neither of the two covers; `all_proxy` too.",
    ),
    variable(
        "NO_PROXY",
        ALL,
        "Hosts, domains and networks that are reached without a proxy; `no_proxy` too.",
    ),
    variable(
        "OTEL_SDK_DISABLED",
        ALL,
        "`true` switches traces off, whatever else is set.",
    ),
    variable(
        "OTEL_TRACES_EXPORTER",
        ALL,
        "`otlp` exports traces; anything else does not. Unset, an endpoint decides.",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        ALL,
        "The collector that receives traces.",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        ALL,
        "The same, for traces only, as a full URL.",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        ALL,
        "`grpc`, or `http/protobuf` (the default).",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        ALL,
        "The same, for traces only.",
    ),
    variable(
        "OTEL_SERVICE_NAME",
        ALL,
        "The service that traces name; the controller's name by default.",
    ),
    variable(
        "AWS_REGION",
        AWS,
        "The region of the controller's own AWS credentials, where the object has none.",
    ),
    variable(
        "AWS_ACCESS_KEY_ID",
        AWS,
        "With `AWS_SECRET_ACCESS_KEY`: the controller's own AWS credentials; `AWS_ACCESS_KEY` too.",
    ),
    variable(
        "AWS_SECRET_ACCESS_KEY",
        AWS,
        "See `AWS_ACCESS_KEY_ID`; `AWS_SECRET_KEY` too.",
    ),
    variable(
        "AWS_SESSION_TOKEN",
        AWS,
        "The session token that belongs to these keys.",
    ),
    variable(
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        AWS,
        "The file with the token that is exchanged for credentials of `AWS_ROLE_ARN` (IRSA).",
    ),
    variable("AWS_ROLE_ARN", AWS, "The role of that token."),
    variable("AWS_ROLE_SESSION_NAME", AWS, "The name of its sessions."),
    variable(
        "AWS_PROFILE",
        AWS,
        "The profile of the SDK's files that is used before all others.",
    ),
    variable(
        "AWS_CONFIG_FILE",
        AWS,
        "The SDK's configuration file; `~/.aws/config` by default.",
    ),
    variable(
        "AWS_SHARED_CREDENTIALS_FILE",
        AWS,
        "The SDK's credentials file; `~/.aws/credentials` by default.",
    ),
    variable("HOME", AZURE, "The folder that `~` stands for."),
    variable(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        AWS,
        "The agent that gives credentials to containers (EKS Pod Identity).",
    ),
    variable(
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        AWS,
        "The same, as a path at the agent of ECS.",
    ),
    variable(
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        AWS,
        "The file with the token for the agent.",
    ),
    variable(
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        AWS,
        "The token for the agent itself.",
    ),
    variable(
        "AWS_EC2_METADATA_DISABLED",
        AWS,
        "`true` forbids the use of the instance's metadata.",
    ),
    variable(
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        AWS,
        "The address of the instance's metadata.",
    ),
    variable(
        "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
        AWS,
        "`IPv6` uses the IPv6 address of the instance's metadata.",
    ),
    variable(
        "AWS_EC2_METADATA_V1_DISABLED",
        AWS,
        "`true` forbids requests for metadata without a session.",
    ),
    variable(
        "AWS_ENDPOINT_URL_STS",
        AWS,
        "The address where the controller's own token is exchanged.",
    ),
    variable("AWS_ENDPOINT_URL", AWS, "The same, for all services."),
    variable(
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        AWS,
        "`true` ignores both.",
    ),
    variable(
        "AWS_USE_FIPS_ENDPOINT",
        AWS,
        "`true` exchanges the controller's own token at a FIPS endpoint.",
    ),
    variable(
        "AZURE_TENANT_ID",
        AZURE,
        "The tenant of the controller's own identity in Azure.",
    ),
    variable(
        "AZURE_CLIENT_ID",
        AZURE,
        "Its client; alone it selects a managed identity.",
    ),
    variable("AZURE_CLIENT_SECRET", AZURE, "The secret of that client."),
    variable(
        "AZURE_CLIENT_CERTIFICATE_PATH",
        AZURE,
        "The file with its certificate and key in PEM form.",
    ),
    variable(
        "AZURE_CLIENT_CERTIFICATE_PASSWORD",
        AZURE,
        "Not empty: the certificate is refused, since keys with a password are not supported.",
    ),
    variable(
        "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN",
        AZURE,
        "`1` or `true` sends the certificates along.",
    ),
    variable(
        "AZURE_FEDERATED_TOKEN_FILE",
        AZURE,
        "The file with the token that is exchanged for the client's (workload identity).",
    ),
    variable(
        "AZURE_AUTHORITY_HOST",
        AZURE,
        "Where tokens of Azure are requested; the public cloud's by default.",
    ),
    variable(
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        AZURE,
        "The address of the metadata server with managed identities.",
    ),
    variable(
        "AZURE_ENVIRONMENT_FILEPATH",
        AZURE,
        "A JSON file with `containerRegistryDNSSuffix`, `resourceManagerEndpoint` and `tokenAudience` of an air-gapped cloud.",
    ),
    variable(
        "GOOGLE_APPLICATION_CREDENTIALS",
        CLOUDS,
        "The file with the controller's own Google credentials: a service account's key, or an external account with a token in a file.",
    ),
    variable(
        "GCE_METADATA_HOST",
        CLOUDS,
        "Host and port of Google's metadata server.",
    ),
];

/// Texts in the same files that are not variables of a controller, and other names of variables that are listed.
const NO_VARIABLES: &[&str] = &[
    "TRUE",
    "FALSE",
    "FAILED",
    "PERMISSION_DENIED",
    "SUCCESSFUL",
    "AWS_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "VAULT_CACERT_BYTES",
    "VAULT_CLIENT_KEY",
    "VAULT_HTTP_PROXY",
    "SOPS_AGE_KEY_CMD",
    "SOPS_AGE_SSH_PRIVATE_KEY_CMD",
];

/// What a file contains that reads the environment, itself or through a function that it passes on.
const READS: &[&str] = &[
    "env::var",
    "env_or",
    "from_env",
    "environment.get(",
    "environment.lookup(",
    "environment().get(",
];

/// Modules only for tests, whose variables CONTRIBUTING.md lists, and build scripts.
const NO_CONTROLLER: &[&str] = &[
    "tests.rs",
    "differential.rs",
    "mutations.rs",
    "build.rs",
    "link.rs",
];

/// One entry of a help page.
struct Flag {
    name: String,
    kind: String,
    text: String,
    default: String,
}

/// The flags of a help page: `--name <type>` on one line, its text and `[default: ..]` on the following lines.
fn flags(help: &str) -> Vec<Flag> {
    let mut flags: Vec<Flag> = Vec::new();
    let (_, options) = help.split_once("Options:").unwrap_or_default();
    for line in options.lines().map(str::trim) {
        if let Some((_, declared)) = line.split_once("--").filter(|(short, _)| {
            short.is_empty() || short.starts_with('-') && short.ends_with(", ")
        }) {
            let end = declared.find([' ', '[', '=']).unwrap_or(declared.len());
            let (name, kind) = declared.split_at(end);
            let kind = kind.trim_matches([' ', '[', ']', '=', '<', '>']);
            flags.push(Flag {
                name: name.to_owned(),
                kind: kind.to_owned(),
                text: String::new(),
                default: String::new(),
            });
        } else if let Some(flag) = flags.last_mut().filter(|_| !line.is_empty()) {
            let (text, default) = line.split_once("[default: ").unwrap_or((line, ""));
            if !flag.text.is_empty() && !text.is_empty() {
                flag.text.push(' ');
            }
            flag.text.push_str(text.trim());
            if !default.is_empty() {
                default.trim_end_matches(']').clone_into(&mut flag.default);
            }
        }
    }
    flags
}

fn page(controller: &str) -> Result<String> {
    let program = controller::program(controller)?;
    let mut command = Command::new(&program);
    for variable in VARIABLES {
        command.env_remove(variable.name);
    }
    let output = command
        .arg("--help")
        .output()
        .doing(format!("run {}", program.display()))?;
    let help = String::from_utf8_lossy(&output.stdout);
    let flags = flags(&help);
    ensure!(
        flags.len() > 20,
        "{controller} --help lists few flags:\n{help}"
    );
    let cell = |text: &str| text.replace('|', "\\|");
    let code = |text: &str| {
        if text.is_empty() {
            String::new()
        } else {
            format!("`{}`", cell(text))
        }
    };
    let mut page = format!(
        "# {controller}: flags and environment variables\n\n\
         <!-- Written by: FLUX_GOLDEN=write cargo test -p kind-tests --test reference -->\n\n\
         ## Flags\n\n| flag | type | default | effect |\n|---|---|---|---|\n"
    );
    for flag in &flags {
        let (kind, default) = (code(&flag.kind), code(&flag.default));
        writeln!(
            page,
            "| `--{}` | {kind} | {default} | {} |",
            flag.name,
            cell(&flag.text)
        )?;
    }
    page.push_str("\n## Environment variables\n\n| variable | effect |\n|---|---|\n");
    for variable in VARIABLES {
        if variable.controllers.contains(&controller) {
            writeln!(page, "| `{}` | {} |", variable.name, cell(variable.effect))?;
        }
    }
    Ok(page)
}

#[test]
fn the_reference_lists_the_flags_of_each_controller() -> Result {
    let folder = cache::workspace().join("docs/reference");
    let write = std::env::var_os("FLUX_GOLDEN").is_some_and(|value| value == "write");
    let mut stale = Vec::new();
    for controller in CONTROLLERS {
        let path = folder.join(format!("{controller}.md"));
        let page = page(controller)?;
        if write {
            fs::create_dir_all(&folder)?;
            fs::write(&path, page)?;
        } else if fs::read_to_string(&path).unwrap_or_default() != page {
            stale.push(path);
        }
    }
    ensure!(
        stale.is_empty(),
        "out of date: {stale:?}; FLUX_GOLDEN=write cargo test -p kind-tests --test reference"
    );
    Ok(())
}

#[test]
fn the_reference_lists_exactly_the_environment_variables_that_the_code_reads() -> Result {
    let listed: BTreeSet<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    let (mut read, mut unread) = (BTreeSet::new(), listed.clone());
    let mut files = 0;
    let folders = [&["shared"][..], &CONTROLLERS].concat();
    for folder in folders {
        sources(&cache::workspace().join(folder), &mut |source| {
            // The name may be a constant of another file than that which reads it.
            unread.retain(|name| !source.contains(&format!("\"{name}\"")));
            if !READS.iter().any(|call| source.contains(call)) {
                return;
            }
            files += 1;
            let names = source.split('"').skip(1).step_by(2).filter(|text| {
                let is_part = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
                text.len() > 3 && text.starts_with(char::is_uppercase) && text.bytes().all(is_part)
            });
            read.extend(names.map(str::to_owned));
        })?;
    }
    ensure!(files > 4, "only {files} files read the environment");
    let unlisted: Vec<&String> = read
        .iter()
        .filter(|name| !listed.contains(&***name) && !NO_VARIABLES.contains(&&***name))
        .collect();
    ensure!(
        unlisted.is_empty() && unread.is_empty(),
        "VARIABLES in kind-tests/tests/reference.rs lacks {unlisted:?}, and nothing reads {unread:?}"
    );
    Ok(())
}

/// Calls `found` with each source file below `folder`, except tests and examples.
fn sources(folder: &Path, found: &mut impl FnMut(&str)) -> Result {
    for entry in fs::read_dir(folder).doing(format!("list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !["target", "tests", "examples", "fuzz", "benches"].contains(&&*name) {
                sources(&path, found)?;
            }
        } else if name.ends_with(".rs") && !NO_CONTROLLER.contains(&&*name) {
            found(&fs::read_to_string(&path)?);
        }
    }
    Ok(())
}
