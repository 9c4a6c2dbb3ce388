//! The release record: the state that Helm stores for an installed chart, and its format.

mod digest;
mod json;
mod secret;

use std::collections::BTreeMap;

use bytes::Bytes;
pub use digest::{
    DigestAlgorithm, InvalidDigest, config_digest, is_config_of, is_snapshot_of, snapshot_digest,
};
use flux_chart::{Lock, Metadata};
use flux_yaml::{Map, Value};
pub use json::to_go_json;
pub use secret::{
    MAX_RECORD_BYTES, RecordError, SECRET_TYPE, SYSTEM_LABELS, decode, encode, secret_labels,
    secret_name,
};
use serde::{Deserialize, Serialize};

use crate::hook::{Hook, is_zero, null_default};
use crate::rendered::Rendered;
use crate::{Chart, File, Time};

/// One revision of a release of a chart (HE-REL-001).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Release {
    /// The release's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Status, description and timestamps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<Info>,
    /// The released chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<ReleaseChart>,
    /// The user's values.
    #[serde(skip_serializing_if = "Map::is_empty", with = "flux_chart::yaml::map")]
    pub config: Map,
    /// The rendered manifests.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifest: String,
    /// The rendered hooks.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub hooks: Vec<Hook>,
    /// The revision.
    #[serde(rename = "version", skip_serializing_if = "is_zero")]
    pub revision: i64,
    /// The namespace of the release.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// `ssa` or `csa`; empty means client-side (HE-REL-014).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub apply_method: String,
    /// The labels of its Secret that are not Helm's own. Not part of the record.
    #[serde(skip)]
    pub labels: BTreeMap<String, String>,
}

impl Release {
    /// The status; [`Status::Unknown`] if the record has none.
    pub fn status(&self) -> Status {
        let status = self.info.as_ref().and_then(|info| info.status);
        status.unwrap_or(Status::Unknown)
    }

    /// Sets the status and its description.
    pub fn set_status(&mut self, status: Status, description: impl Into<String>) {
        let info = self.info.get_or_insert_default();
        info.status = Some(status);
        info.description = description.into();
    }
}

/// Status, description and timestamps of a release (HE-REL-002).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// Creation time of its first revision.
    #[serde(skip_serializing_if = "Time::is_zero")]
    pub first_deployed: Time,
    /// Creation time of this revision.
    #[serde(skip_serializing_if = "Time::is_zero")]
    pub last_deployed: Time,
    /// Time of uninstallation.
    #[serde(skip_serializing_if = "Time::is_zero")]
    pub deleted: Time,
    /// What happened last, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The revision that was rolled back to; zero for any other release (HE-REL-018).
    #[serde(skip_serializing_if = "is_zero")]
    pub rollback_revision: i64,
    /// The rendered NOTES.txt.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Not used by Helm; preserved.
    #[serde(
        skip_serializing_if = "Value::is_null",
        serialize_with = "flux_chart::yaml::serialize_value",
        deserialize_with = "flux_chart::yaml::deserialize_value"
    )]
    pub resources: Value,
}

/// The status of a release (HE-REL-010).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The status is unknown.
    Unknown,
    /// It is the current revision.
    Deployed,
    /// It was uninstalled and its history kept.
    Uninstalled,
    /// A later revision replaced it.
    Superseded,
    /// It failed.
    Failed,
    /// It is being uninstalled.
    Uninstalling,
    /// It is being installed.
    PendingInstall,
    /// It is being upgraded to.
    PendingUpgrade,
    /// It is being rolled back to.
    PendingRollback,
}

impl Status {
    /// The name in records and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Deployed => "deployed",
            Self::Uninstalled => "uninstalled",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::Uninstalling => "uninstalling",
            Self::PendingInstall => "pending-install",
            Self::PendingUpgrade => "pending-upgrade",
            Self::PendingRollback => "pending-rollback",
        }
    }

    /// Whether an action is in progress, or its process ended before the action did.
    pub const fn is_pending(self) -> bool {
        matches!(
            self,
            Self::PendingInstall | Self::PendingUpgrade | Self::PendingRollback
        )
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The chart of a release, without subcharts (HE-REL-003, HE-REL-005).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleaseChart {
    /// Chart.yaml.
    pub metadata: Option<Metadata>,
    /// Chart.lock.
    pub lock: Option<Lock>,
    /// The files below templates/.
    #[serde(with = "files")]
    pub templates: Vec<File>,
    /// The defaults, with the values imported from subcharts.
    #[serde(with = "flux_chart::yaml::optional_map")]
    pub values: Option<Map>,
    /// values.schema.json.
    #[serde(with = "base64_option")]
    pub schema: Option<Bytes>,
    /// Modification time of the schema.
    #[serde(rename = "schemamodtime")]
    pub schema_mod_time: Time,
    /// All other files.
    #[serde(with = "files")]
    pub files: Vec<File>,
    /// Modification time of Chart.yaml.
    #[serde(rename = "modtime", skip_serializing_if = "Time::is_zero")]
    pub mod_time: Time,
}

impl ReleaseChart {
    /// The parts of a rendered chart that a release stores.
    pub fn new(chart: &Chart, rendered: &Rendered) -> Self {
        Self {
            metadata: Some(rendered.metadata.clone()),
            lock: chart.lock.clone(),
            templates: chart.templates.clone(),
            values: rendered.values(),
            schema: chart.schema.clone(),
            schema_mod_time: chart.schema_mod_time,
            files: chart.files.clone(),
            mod_time: chart.mod_time,
        }
    }
}

/// `[]byte`: base64, `null` for nil.
mod base64_option {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::ref_option)] // serde's signature
    pub(super) fn serialize<S: Serializer>(
        data: &Option<Bytes>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match data {
            None => serializer.serialize_none(),
            Some(data) => serializer.serialize_str(&STANDARD.encode(data)),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Bytes>, D::Error> {
        let text = Option::<std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.map(|text| STANDARD.decode(text.as_bytes()).map(Bytes::from))
            .transpose()
            .map_err(D::Error::custom)
    }
}

/// A list of files, `null` if empty (HE-REL-004).
mod files {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::{File, Time};

    #[derive(Serialize, Deserialize)]
    struct Entry {
        #[serde(default)]
        name: String,
        #[serde(default, with = "super::base64_option")]
        data: Option<Bytes>,
        #[serde(rename = "modtime", default, skip_serializing_if = "Time::is_zero")]
        mod_time: Time,
    }

    pub(super) fn serialize<S: Serializer>(
        files: &[File],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if files.is_empty() {
            return serializer.serialize_none();
        }
        serializer.collect_seq(files.iter().map(|file| Entry {
            name: file.name.clone(),
            data: Some(file.data.clone()),
            mod_time: file.mod_time,
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<File>, D::Error> {
        let entries = Option::<Vec<Option<Entry>>>::deserialize(deserializer)?;
        let entries = entries.into_iter().flatten().flatten();
        Ok(entries
            .map(|entry| File {
                name: entry.name,
                data: entry.data.unwrap_or_default(),
                mod_time: entry.mod_time,
            })
            .collect())
    }
}
