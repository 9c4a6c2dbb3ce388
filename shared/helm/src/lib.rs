//! Helm charts as a library: loading, values, rendering, hooks and the release record, compatible with Helm 4.3.
//!
//! ```
//! use flux_helm::{Chart, File, RenderOptions, render};
//!
//! let chart = Chart::from_files(vec![
//!     File::new("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
//!     File::new("values.yaml", "replicas: 1\n"),
//!     File::new("templates/web.yaml", "kind: Deployment\nspec: {replicas: {{ .Values.replicas }}}\n"),
//! ])?;
//! let mut values = flux_helm::Values::new();
//! flux_helm::set(&mut values, "replicas=3")?;
//! let rendered = render(&chart, &values, &RenderOptions::new("rel", "apps"))?;
//! assert_eq!(
//!     rendered.manifest(false),
//!     "---\n# Source: web/templates/web.yaml\nkind: Deployment\nspec: {replicas: 3}\n\n"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! To render a chart many times, keep a [`ParsedChart`].
//!
//! [`action`] has the steps of installing, upgrading, rolling back, testing and uninstalling a release. Records are stored
//! and read in the format of Helm 3 and 4:
//!
//! ```
//! use flux_helm::{Release, Status, decode, encode, secret_labels, secret_name};
//!
//! let mut release = Release { name: "rel".into(), revision: 2, ..Release::default() };
//! release.set_status(Status::Deployed, "Upgrade complete");
//! assert_eq!(secret_name(&release.name, release.revision), "sh.helm.release.v1.rel.v2");
//! assert_eq!(secret_labels(&release)["status"], "deployed");
//! let value = encode(&release)?; // of the key `release`, before Kubernetes' own base64
//! assert_eq!(decode(value.as_bytes())?, release);
//! # Ok::<(), flux_helm::RecordError>(())
//! ```
//!
//! Nothing in this crate reads a disk, a clock or a cluster. Archives are passed as bytes and folders as a
//! `flux_tree::Tree`; [`RenderOptions`] has the inputs of `lookup`, `now` and the random functions. The caller stores a
//! [`Release`], applies manifests and runs hooks, step by step as an [`action::Action`] asks for it.

#![forbid(unsafe_code)]
#![allow(clippy::format_push_string)] // text is short here, and `write!` to a String has an error that cannot happen

pub mod action;
mod dependencies;
mod engine;
mod hook;
mod manifest;
pub mod patch;
mod post_render;
mod release;
mod rendered;
mod schema;
mod text;
mod values;

pub use engine::{
    Capabilities, Discovery, HelmVersion, KubeVersion, KubeVersionError, Lookup, Offline,
    ParsedChart, RenderError, RenderOptions, render,
};
pub use flux_chart::{
    ApiVersionError, Chart, Crd, Dependency, File, LoadError, Lock, MAX_CHART_BYTES, MAX_ENTRIES,
    MAX_INDEX, MAX_NESTING, MAX_SUBCHART_DEPTH, Maintainer, Metadata, NotInstallable, SetError,
    Time, ValueError, ValueOptions, Values, YamlError, documents, load_values, merge_maps, set,
    set_file, set_json, set_literal, set_string,
};
pub use flux_jsonschema::{Fetched, Remotes};
pub use hook::{Hook, HookEvent, HookExecution, HookPhase, executing};
pub use manifest::{
    Head, KindOrder, Manifest, ManifestError, Sorted, join_manifests, sort_manifests,
    split_manifests,
};
pub use post_render::{
    Document, FILE_ANNOTATION, PostRenderError, PostRenderStrategy, PostRenderer,
};
pub use release::{
    DigestAlgorithm, Info, InvalidDigest, MAX_RECORD_BYTES, RecordError, Release, ReleaseChart,
    SECRET_TYPE, SYSTEM_LABELS, Status, config_digest, decode, encode, is_config_of,
    is_snapshot_of, secret_labels, secret_name, snapshot_digest, to_go_json,
};
pub use rendered::Rendered;
pub use schema::SchemaError;
pub use values::{
    ComposeError, ComposedValues, DEFAULT_VALUES_KEY, SourceData, TypeMismatch, ValuesReason,
    ValuesReferenceError, ValuesSource, compose_values, reuse_values,
};
