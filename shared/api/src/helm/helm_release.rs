//! `HelmRelease`: the desired state of a Helm release and how its actions are run.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HelmReleaseStatus, Values};
use crate::meta::{
    CommonMetadata, CustomHealthCheck, DependencyReference, GoDuration, IgnoreRule, Image,
    KubeConfigReference, LocalObjectReference, Patch, ValuesKind, string_enum,
};
use crate::schema::{INTERVAL, TIMEOUT};
use crate::source::{
    HelmChartSourceKind, OCILayerSelector, OCIProvider, OCIRepositoryRef, OCIVerificationProvider,
    OIDCIdentityMatch, ReconcileStrategy,
};

/// A Helm release: which chart, which values, and how to install, upgrade, test, roll back and uninstall it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "helm.toolkit.fluxcd.io",
    version = "v2",
    kind = "HelmRelease",
    plural = "helmreleases",
    shortname = "hr",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-appliers",
    namespaced,
    status = "HelmReleaseStatus",
    derive = "Default",
    derive = "PartialEq",
    schema = "disabled",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = [{
    "rule": "(has(self.chart) && !has(self.chartRef)) || (!has(self.chart) && has(self.chartRef))",
    "message": "either chart or chartRef must be set",
}]))]
pub struct HelmReleaseSpec {
    /// Template of the HelmChart to make for this release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<HelmChartTemplate>,
    /// An OCIRepository, HelmChart or ExternalArtifact that has the chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart_ref: Option<CrossNamespaceChartReference>,
    /// Labels and annotations for every object of the release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_metadata: Option<CommonMetadata>,
    /// HelmReleases that must be ready first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<DependencyReference>,
    /// Detection of changes made to the release's objects outside of Helm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_detection: Option<DriftDetection>,
    /// Health checks of custom resources as CEL expressions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_check_exprs: Vec<CustomHealthCheck>,
    /// How to install.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install: Option<Install>,
    /// How often to reconcile.
    #[schemars(regex(pattern = INTERVAL))]
    pub interval: GoDuration,
    /// The cluster to release to, where it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube_config: Option<KubeConfigReference>,
    /// How many revisions Helm keeps; 5 where absent, 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_history: Option<i32>,
    /// Keep one Kubernetes client for all steps of a release; true where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_client: Option<bool>,
    /// Which part of a release goes through the post-renderers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_render_strategy: Option<PostRenderStrategy>,
    /// What to do with the rendered manifests, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_renderers: Vec<PostRenderer>,
    /// Name of the release; target namespace and object name, or the object name alone, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 53))]
    pub release_name: Option<String>,
    /// How to roll back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// ServiceAccount to act as.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Namespace of Helm's release records; defaults to the object's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub storage_namespace: Option<String>,
    /// Stop reconciling.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Namespace to release to; the object's own where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub target_namespace: Option<String>,
    /// How to run the chart's tests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Test>,
    /// How long one Kubernetes operation, such as a hook's job, may take; 5 minutes where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = INTERVAL))]
    pub timeout: Option<GoDuration>,
    /// How to uninstall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uninstall: Option<Uninstall>,
    /// How to upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Upgrade>,
    /// Values for the chart; they win over those of `valuesFrom`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Values>,
    /// ConfigMaps and Secrets with values, merged in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values_from: Vec<ValuesReference>,
    /// How to wait for the objects to become ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_strategy: Option<WaitStrategy>,
}

/// Template of a HelmChart, or (since 2.10) of an OCIRepository: fields of the other kind are refused by rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.kind) || self.kind != 'OCIRepository' || (has(self.spec.url) && size(self.spec.url) > 0)",
        "message": "chart.spec.url must be set when chart.kind is 'OCIRepository'",
    },
    {
        "rule": "!has(self.spec.url) || (has(self.kind) && self.kind == 'OCIRepository')",
        "message": "chart.spec.url requires chart.kind: 'OCIRepository'; for a HelmChart template set spec.chart and spec.sourceRef instead",
    },
    {
        "rule": "(has(self.kind) && self.kind == 'OCIRepository') || (has(self.spec.chart) && has(self.spec.sourceRef))",
        "message": "chart.spec.chart and chart.spec.sourceRef must be set when chart.kind is not 'OCIRepository'",
    },
    {
        "rule": "!has(self.kind) || self.kind != 'OCIRepository' || !has(self.spec.chart)",
        "message": "chart.spec.chart cannot be set when chart.kind is 'OCIRepository'",
    },
    {
        "rule": "!has(self.kind) || self.kind != 'OCIRepository' || !has(self.spec.version) || self.spec.version == '*'",
        "message": "chart.spec.version cannot be set when chart.kind is 'OCIRepository'",
    },
    {
        "rule": "!has(self.kind) || self.kind != 'OCIRepository' || !has(self.spec.sourceRef)",
        "message": "chart.spec.sourceRef cannot be set when chart.kind is 'OCIRepository'",
    },
    {
        "rule": "!has(self.kind) || self.kind != 'OCIRepository' || !has(self.spec.reconcileStrategy) || self.spec.reconcileStrategy == 'ChartVersion'",
        "message": "chart.spec.reconcileStrategy cannot be set when chart.kind is 'OCIRepository'",
    },
    {
        "rule": "!has(self.kind) || self.kind != 'OCIRepository' || !has(self.spec.valuesFiles)",
        "message": "chart.spec.valuesFiles cannot be set when chart.kind is 'OCIRepository'",
    },
    {
        "rule": "!has(self.kind) || self.kind != 'OCIRepository' || !has(self.spec.ignoreMissingValuesFiles)",
        "message": "chart.spec.ignoreMissingValuesFiles cannot be set when chart.kind is 'OCIRepository'",
    },
]))]
pub struct HelmChartTemplate {
    /// Kind of the object to make; HelmChart where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ChartTemplateKind>,
    /// Labels and annotations of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<HelmChartTemplateObjectMeta>,
    /// Specification of the object.
    pub spec: HelmChartTemplateSpec,
}

string_enum! {
    /// The kinds of object that a chart template can make.
    ChartTemplateKind {
        /// A HelmChart.
        HelmChart = "HelmChart",
        /// An OCIRepository.
        OCIRepository = "OCIRepository",
    }
}

/// Labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct HelmChartTemplateObjectMeta {
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Specification of the HelmChart or OCIRepository that a template makes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct HelmChartTemplateSpec {
    /// OCIRepository: Secret with the certificates for the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalObjectReference>,
    /// HelmChart: name of the chart, or its path in the source.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(min = 1, max = 2048))]
    pub chart: String,
    /// OCIRepository: patterns, as in .gitignore, of files to leave out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
    /// HelmChart: continue if a values file does not exist.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_missing_values_files: bool,
    /// OCIRepository: use plain HTTP.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// How often to look for a new version; the release's interval where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = INTERVAL))]
    pub interval: Option<GoDuration>,
    /// OCIRepository: which layer to take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_selector: Option<OCILayerSelector>,
    /// OCIRepository: where credentials come from; generic where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<OCIProvider>,
    /// OCIRepository: Secret with the address and credentials of a proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalObjectReference>,
    /// HelmChart: what makes a new chart artifact; ChartVersion where absent (HC-API-048).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconcile_strategy: Option<ReconcileStrategy>,
    /// OCIRepository: which version to fetch.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<OCIRepositoryRef>,
    /// OCIRepository: Secret with the credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// OCIRepository: ServiceAccount whose image pull secrets, or whose cloud identity, are used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// HelmChart: the source that has the chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<ChartSourceReference>,
    /// OCIRepository: stop reconciling it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// OCIRepository: how long one operation with the registry may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = TIMEOUT))]
    pub timeout: Option<GoDuration>,
    /// OCIRepository: address of the chart, without tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^oci://.*$"))]
    pub url: Option<String>,
    /// HelmChart: files of the chart (or of the source) that are merged, in this order, into the chart's default values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values_files: Vec<String>,
    /// Which signatures to ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<HelmChartTemplateVerification>,
    /// HelmChart: range of versions, any where absent (HC-API-048); not looked at for charts of a GitRepository or Bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Names the source of a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct ChartSourceReference {
    /// API group and version of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the source.
    pub kind: HelmChartSourceKind,
    /// Name of the source.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the source; the release's own where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// Asks for a signature on the chart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct HelmChartTemplateVerification {
    /// OCIRepository: who may have signed without a key; one match is enough.
    #[serde(
        rename = "matchOIDCIdentity",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub match_oidc_identity: Vec<OIDCIdentityMatch>,
    /// The signature scheme.
    #[schemars(extend("default" = "cosign"))]
    pub provider: OCIVerificationProvider,
    /// Secret with the public keys or the trust policy of the trusted signers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// OCIRepository: Secret with a Sigstore trusted root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_root_secret_ref: Option<LocalObjectReference>,
}

/// Names an object that has a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct CrossNamespaceChartReference {
    /// API group and version of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the object.
    pub kind: ChartReferenceKind,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the object; the release's own where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

string_enum! {
    /// The kinds of object that may have a chart.
    ChartReferenceKind {
        /// An OCIRepository.
        OCIRepository = "OCIRepository",
        /// A HelmChart.
        HelmChart = "HelmChart",
        /// An ExternalArtifact.
        ExternalArtifact = "ExternalArtifact",
    }
}

/// Whether and how to detect changes made to the release's objects outside of Helm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct DriftDetection {
    /// Fields to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<IgnoreRule>,
    /// What to do; disabled where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<DriftDetectionMode>,
}

string_enum! {
    /// What to do about drift.
    DriftDetectionMode {
        /// Report and correct it.
        Enabled = "enabled",
        /// Report it.
        Warn = "warn",
        /// Do not look for it.
        Disabled = "disabled",
    }
}

/// How to wait for the objects to become ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct WaitStrategy {
    /// Name of the strategy.
    pub name: WaitStrategyName,
}

string_enum! {
    /// The ways to wait for objects.
    WaitStrategyName {
        /// By their status as kstatus computes it.
        Poller = "poller",
        /// By Helm 3's readiness rules.
        Legacy = "legacy",
    }
}

/// How to install.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Install {
    /// What to do with the chart's CustomResourceDefinitions; Create where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crds: Option<CRDsPolicy>,
    /// Create the target namespace where it does not exist.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create_namespace: bool,
    /// Run no hooks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_hooks: bool,
    /// Do not validate the manifests against the cluster's schemas.
    #[serde(
        rename = "disableOpenAPIValidation",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub disable_openapi_validation: bool,
    /// Do not validate the values against the chart's schema.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_schema_validation: bool,
    /// Do not take over objects that exist and belong to no release.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_take_ownership: bool,
    /// Do not wait for the objects to become ready.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_wait: bool,
    /// Do not wait for jobs to finish.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_wait_for_jobs: bool,
    /// What to do after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediation: Option<InstallRemediation>,
    /// Reuse the release name, even of a release that was deleted and left its history.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// Use server-side apply; true where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_side_apply: Option<bool>,
    /// Older form of `crds: Skip`.
    #[serde(
        rename = "skipCRDs",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub skip_crds: bool,
    /// How to continue after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<InstallStrategy>,
    /// How long one Kubernetes operation may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = INTERVAL))]
    pub timeout: Option<GoDuration>,
}

/// How to continue after a failed installation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = [{
    "rule": "!has(self.retryInterval) || self.name != 'RemediateOnFailure'",
    "message": ".retryInterval cannot be set when .name is 'RemediateOnFailure'",
}]))]
pub struct InstallStrategy {
    /// Name of the strategy.
    pub name: ActionStrategyName,
    /// How long to wait before the next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = INTERVAL))]
    pub retry_interval: Option<GoDuration>,
}

string_enum! {
    /// The ways to continue after a failure.
    ActionStrategyName {
        /// Remediate as configured, then retry.
        RemediateOnFailure = "RemediateOnFailure",
        /// Keep the failed release and retry.
        RetryOnFailure = "RetryOnFailure",
    }
}

/// What to do after a failed installation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct InstallRemediation {
    /// Treat a failed test as success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_test_failures: Option<bool>,
    /// Uninstall also after the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediate_last_failure: Option<bool>,
    /// Number of retries; 0 if absent, unlimited if negative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<i32>,
}

string_enum! {
    /// What to do with a chart's CustomResourceDefinitions.
    CRDsPolicy {
        /// Leave them out.
        Skip = "Skip",
        /// Create those that do not exist.
        Create = "Create",
        /// Create or replace them.
        CreateReplace = "CreateReplace",
    }
}

/// How to upgrade.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Upgrade {
    /// What to do when the chart has another name than the one installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart_name_change_strategy: Option<ChartNameChangeStrategy>,
    /// Delete objects that a failed upgrade has made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cleanup_on_fail: bool,
    /// What to do with the chart's CustomResourceDefinitions; Skip where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crds: Option<CRDsPolicy>,
    /// Run no hooks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_hooks: bool,
    /// Do not validate the manifests against the cluster's schemas.
    #[serde(
        rename = "disableOpenAPIValidation",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub disable_openapi_validation: bool,
    /// Do not validate the values against the chart's schema.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_schema_validation: bool,
    /// Do not take over objects that exist and belong to no release.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_take_ownership: bool,
    /// Do not wait for the objects to become ready.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_wait: bool,
    /// Do not wait for jobs to finish.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_wait_for_jobs: bool,
    /// Replace objects where an update is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Merge the values into those of the last release.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preserve_values: bool,
    /// What to do after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediation: Option<UpgradeRemediation>,
    /// Whether to use server-side apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_side_apply: Option<ServerSideApplyMode>,
    /// How to continue after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<UpgradeStrategy>,
    /// How long one Kubernetes operation may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = INTERVAL))]
    pub timeout: Option<GoDuration>,
}

string_enum! {
    /// What to do when a release's chart has changed its name.
    ChartNameChangeStrategy {
        /// Upgrade the release.
        InPlaceUpdate = "InPlaceUpdate",
        /// Uninstall the release and install it again.
        Reinstall = "Reinstall",
    }
}

/// How to continue after a failed upgrade.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = [{
    "rule": "!has(self.retryInterval) || self.name == 'RetryOnFailure'",
    "message": ".retryInterval can only be set when .name is 'RetryOnFailure'",
}]))]
pub struct UpgradeStrategy {
    /// Name of the strategy.
    pub name: ActionStrategyName,
    /// How long to wait before the next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = INTERVAL))]
    pub retry_interval: Option<GoDuration>,
}

/// What to do after a failed upgrade.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct UpgradeRemediation {
    /// Treat a failed test as success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_test_failures: Option<bool>,
    /// Remediate also after the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediate_last_failure: Option<bool>,
    /// Number of retries; 0 if absent, unlimited if negative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<i32>,
    /// How to remediate; rollback where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<RemediationStrategy>,
}

string_enum! {
    /// How to remediate a failed upgrade.
    RemediationStrategy {
        /// Roll back to the last good release.
        Rollback = "rollback",
        /// Uninstall.
        Uninstall = "uninstall",
    }
}

string_enum! {
    /// Whether an action uses server-side apply.
    ServerSideApplyMode {
        /// Yes.
        Enabled = "enabled",
        /// No.
        Disabled = "disabled",
        /// As in the last release.
        Auto = "auto",
    }
}

/// How to run the chart's tests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Test {
    /// Run them after each installation and upgrade.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enable: bool,
    /// Which tests to run or to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<TestFilter>,
    /// Treat a failed test as success.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_failures: bool,
    /// How long the tests may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = INTERVAL))]
    pub timeout: Option<GoDuration>,
}

/// Names a test to run or to leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct TestFilter {
    /// Leave it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclude: bool,
    /// Name of the test.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How to roll back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Rollback {
    /// Delete objects that a failed rollback has made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cleanup_on_fail: bool,
    /// Run no hooks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_hooks: bool,
    /// Do not wait for the objects to become ready.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_wait: bool,
    /// Do not wait for jobs to finish.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_wait_for_jobs: bool,
    /// Replace objects where an update is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Older option to restart pods; without effect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recreate: bool,
    /// Whether to use server-side apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_side_apply: Option<ServerSideApplyMode>,
    /// How long one Kubernetes operation may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = INTERVAL))]
    pub timeout: Option<GoDuration>,
}

/// How to uninstall.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Uninstall {
    /// How deletion reaches dependents.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "background"))]
    pub deletion_propagation: Option<DeletionPropagation>,
    /// Run no hooks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_hooks: bool,
    /// Do not wait for the objects to be gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_wait: bool,
    /// Keep the records of the release.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_history: bool,
    /// How long one Kubernetes operation may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = INTERVAL))]
    pub timeout: Option<GoDuration>,
}

string_enum! {
    /// How deletion reaches dependents.
    DeletionPropagation {
        /// Dependents are deleted after the object.
        Background = "background",
        /// Dependents are deleted before the object.
        Foreground = "foreground",
        /// Dependents are left.
        Orphan = "orphan",
    }
}

string_enum! {
    /// Which part of a release goes through the post-renderers.
    PostRenderStrategy {
        /// All but the hooks.
        NoHooks = "nohooks",
        /// Templates and hooks together.
        Combined = "combined",
        /// Templates and hooks, each on its own.
        Separate = "separate",
    }
}

/// One change to the rendered manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct PostRenderer {
    /// A change made by kustomize.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kustomize: Option<KustomizePostRenderer>,
}

/// Patches and images, as kustomize applies them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct KustomizePostRenderer {
    /// Image names, tags and digests to replace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// Patches to apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
}

/// Names a ConfigMap or Secret of the same namespace with values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct ValuesReference {
    /// Secret or ConfigMap.
    pub kind: ValuesKind,
    /// Take the value at `targetPath` as it is, without parsing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub literal: bool,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Continue if the object or key does not exist.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Where in the values to put what the key holds; at the root where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 250),
        regex(pattern = r"^([a-zA-Z0-9_\-.\\\/]|\[[0-9]{1,5}\])+$")
    )]
    pub target_path: Option<String>,
    /// Key in the object; `values.yaml` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = r"^[\-._a-zA-Z0-9]+$"))]
    pub values_key: Option<String>,
}
