//! Where the chart of a HelmRelease comes from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{GoDuration, LocalObjectReference, string_enum};
use crate::schema::{INTERVAL, TIMEOUT};
use crate::source::{
    HelmChartSourceKind, OCILayerSelector, OCIProvider, OCIRepositoryRef, OCIVerificationProvider,
    OIDCIdentityMatch, ReconcileStrategy,
};

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
