//! Chart.yaml and Chart.lock.

use std::collections::{BTreeMap, BTreeSet};

use flux_golang::path;
use flux_semver::Version;
use flux_yaml::Value;
use serde::{Deserialize, Serialize};

use crate::decode::{self, Place};
use crate::yaml::YamlError;
use crate::{Time, text};

/// Chart.yaml, with the fields in the order in which Helm writes them into a release record (HE-REL-006).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The chart's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// URL of its home page.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub home: String,
    /// URLs of its source code.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// Its version, parsed leniently as a semantic version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// A one-sentence description.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Keywords for searches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// The maintainers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub maintainers: Vec<Maintainer>,
    /// URL of its icon.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub icon: String,
    /// `v1` or `v2`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// Not used by Helm, available to templates.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub condition: String,
    /// Not used by Helm, available to templates.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tags: String,
    /// The version of the application.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_version: String,
    /// Whether it is deprecated.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deprecated: bool,
    /// Arbitrary annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The supported range of Kubernetes versions.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kube_version: String,
    /// The charts it depends on; `None` if Chart.yaml has no list, which Helm distinguishes from an empty list.
    #[serde(skip_serializing_if = "no_items")]
    pub dependencies: Option<Vec<Dependency>>,
    /// `application`, `library` or empty.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,

    #[serde(skip)]
    null_maintainer: bool,
    #[serde(skip)]
    null_dependency: bool,
}

/// A maintainer of a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Maintainer {
    /// Name of a person or organization.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// E-mail address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// URL of a page.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
}

/// A dependency on another chart (HE-REL-007).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dependency {
    /// The name in the dependency's Chart.yaml, or the alias once dependencies are processed.
    pub name: String,
    /// The range of versions.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// URL of its repository.
    pub repository: String,
    /// Comma-separated paths of values that enable or disable it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub condition: String,
    /// Tags that the `tags` table of the values enables or disables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Whether it is enabled.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enabled: bool,
    /// The values to import into the parent: names below `exports`, or maps of `child` and `parent`.
    #[serde(
        rename = "import-values",
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "crate::yaml::serialize_values",
        deserialize_with = "crate::yaml::deserialize_values"
    )]
    pub import_values: Vec<Value>,
    /// Its name in the parent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub alias: String,
}

/// Chart.lock: the resolved versions of dependencies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lock {
    /// Time of the resolution.
    pub generated: Time,
    /// Digest of the dependencies in Chart.yaml.
    pub digest: String,
    /// The dependencies, each with an exact version.
    pub dependencies: Option<Vec<Dependency>>,
}

#[allow(clippy::ref_option)] // serde's signature
fn no_items(items: &Option<Vec<Dependency>>) -> bool {
    items.as_ref().is_none_or(Vec::is_empty)
}

/// A version of the chart API that chart archives may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiVersionError {
    /// The experimental version of Helm 4, which is not allowed for the charts of a release.
    #[error("only the Chart API v2 is supported")]
    V3,
    /// The version is unknown to Helm.
    #[error("unsupported chart version")]
    Unknown,
}

impl Metadata {
    /// The names of the fields.
    pub(crate) const FIELDS: &[&str] = &[
        "name",
        "home",
        "sources",
        "version",
        "description",
        "keywords",
        "maintainers",
        "icon",
        "apiVersion",
        "condition",
        "tags",
        "appVersion",
        "deprecated",
        "annotations",
        "kubeVersion",
        "dependencies",
        "type",
    ];

    /// Sets the fields from a Chart.yaml or requirements.yaml.
    pub(crate) fn decode(&mut self, value: &Value) -> Result<(), YamlError> {
        let place = Place {
            owner: "Metadata",
            path: "",
        };
        for (field, value) in decode::fields(value, Self::FIELDS, "v2.Metadata")? {
            self.set(place, field, value)?;
        }
        Ok(())
    }

    /// Sets one of the fields.
    pub(crate) fn set(
        &mut self,
        place: Place<'_>,
        field: &str,
        value: &Value,
    ) -> Result<(), YamlError> {
        let into = match field {
            "name" => &mut self.name,
            "home" => &mut self.home,
            "version" => &mut self.version,
            "description" => &mut self.description,
            "icon" => &mut self.icon,
            "apiVersion" => &mut self.api_version,
            "condition" => &mut self.condition,
            "tags" => &mut self.tags,
            "appVersion" => &mut self.app_version,
            "kubeVersion" => &mut self.kube_version,
            "type" => &mut self.kind,
            _ => return self.decode_compound(place, field, value),
        };
        decode::text(into, place, field, value)
    }

    fn decode_compound(
        &mut self,
        place: Place<'_>,
        field: &str,
        value: &Value,
    ) -> Result<(), YamlError> {
        match field {
            "sources" => decode::texts(&mut self.sources, place, field, value),
            "keywords" => decode::texts(&mut self.keywords, place, field, value),
            "deprecated" => decode::truth(&mut self.deprecated, place, field, value),
            "annotations" => decode::text_map(&mut self.annotations, place, field, value),
            "maintainers" => {
                let items =
                    decode::structs(place, field, value, "v2.Maintainer", Maintainer::decode)?;
                (self.maintainers, self.null_maintainer) = items.unwrap_or_default();
                Ok(())
            }
            _ => {
                let items =
                    decode::structs(place, field, value, "v2.Dependency", Dependency::decode)?;
                let (items, nulls) = items.unzip();
                (self.dependencies, self.null_dependency) = (items, nulls.unwrap_or_default());
                Ok(())
            }
        }
    }

    /// Checks that Helm's general chart loader accepts this version of the chart API; source-controller uses that loader
    /// for chart archives (SC-HCHART-077). helm-controller's loader accepts any version.
    ///
    /// # Errors
    /// [`ApiVersionError`]
    pub fn check_api_version(&self) -> Result<(), ApiVersionError> {
        match self.api_version.as_str() {
            "v1" | "v2" => Ok(()),
            "v3" => Err(ApiVersionError::V3),
            _ => Err(ApiVersionError::Unknown),
        }
    }

    /// Sanitizes the texts and checks required fields (HE-LOAD-010..013). The message lacks Helm's prefix `validation: `.
    pub(crate) fn validate(&mut self) -> Result<(), String> {
        for text in [
            &mut self.name,
            &mut self.description,
            &mut self.home,
            &mut self.icon,
            &mut self.condition,
            &mut self.tags,
            &mut self.app_version,
            &mut self.kube_version,
        ]
        .into_iter()
        .chain(&mut self.sources)
        .chain(&mut self.keywords)
        {
            text::sanitize(text);
        }
        self.check_required()?;
        if self.null_maintainer {
            return Err("maintainers must not contain empty or null nodes".to_owned());
        }
        for maintainer in &mut self.maintainers {
            text::sanitize(&mut maintainer.name);
            text::sanitize(&mut maintainer.email);
            text::sanitize(&mut maintainer.url);
        }
        if self.null_dependency {
            return Err("dependencies must not contain empty or null nodes".to_owned());
        }
        let mut names = BTreeSet::new();
        for dependency in self.dependencies.iter_mut().flatten() {
            dependency.validate()?;
            let name = if dependency.alias.is_empty() {
                &dependency.name
            } else {
                &dependency.alias
            };
            if !names.insert(name.clone()) {
                return Err(format!(
                    "more than one dependency with name or alias {}",
                    text::quote(name)
                ));
            }
        }
        Ok(())
    }

    fn check_required(&self) -> Result<(), String> {
        let name = text::quote(&self.name);
        if self.api_version.is_empty() {
            return Err("chart.metadata.apiVersion is required".to_owned());
        }
        if self.name.is_empty() {
            return Err("chart.metadata.name is required".to_owned());
        }
        if self.name == "." || self.name == ".." {
            return Err(format!("chart.metadata.name {name} is not allowed"));
        }
        if self.name != path::base(self.name.as_str()) {
            return Err(format!("chart.metadata.name {name} is invalid"));
        }
        if self.version.is_empty() {
            return Err("chart.metadata.version is required".to_owned());
        }
        if Version::parse(&self.version).is_err() {
            let version = text::quote(&self.version);
            return Err(format!("chart.metadata.version {version} is invalid"));
        }
        if !matches!(self.kind.as_str(), "" | "application" | "library") {
            return Err("chart.metadata.type must be application or library".to_owned());
        }
        Ok(())
    }
}

impl Maintainer {
    fn decode(&mut self, value: &Value, path: &str) -> Result<(), YamlError> {
        let place = Place {
            owner: "Maintainer",
            path,
        };
        for (field, value) in decode::fields(value, &["name", "email", "url"], "v2.Maintainer")? {
            let into = match field {
                "name" => &mut self.name,
                "email" => &mut self.email,
                _ => &mut self.url,
            };
            decode::text(into, place, field, value)?;
        }
        Ok(())
    }
}

impl Dependency {
    /// The names of the fields.
    pub(crate) const FIELDS: &[&str] = &[
        "name",
        "version",
        "repository",
        "condition",
        "tags",
        "enabled",
        "import-values",
        "alias",
    ];

    fn decode(&mut self, value: &Value, path: &str) -> Result<(), YamlError> {
        let place = Place {
            owner: "Dependency",
            path,
        };
        for (field, value) in decode::fields(value, Self::FIELDS, "v2.Dependency")? {
            match field {
                "name" => decode::text(&mut self.name, place, field, value)?,
                "version" => decode::text(&mut self.version, place, field, value)?,
                "repository" => decode::text(&mut self.repository, place, field, value)?,
                "condition" => decode::text(&mut self.condition, place, field, value)?,
                "alias" => decode::text(&mut self.alias, place, field, value)?,
                "tags" => decode::texts(&mut self.tags, place, field, value)?,
                "enabled" => decode::truth(&mut self.enabled, place, field, value)?,
                _ => {
                    let items = decode::items(place, field, value, "[]interface {}")?;
                    self.import_values = items.unwrap_or_default().to_vec();
                    self.import_values.iter_mut().for_each(Value::floats_only);
                }
            }
        }
        Ok(())
    }

    fn validate(&mut self) -> Result<(), String> {
        text::sanitize(&mut self.name);
        text::sanitize(&mut self.version);
        text::sanitize(&mut self.repository);
        text::sanitize(&mut self.condition);
        self.tags.iter_mut().for_each(text::sanitize);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !self.alias.bytes().all(allowed) {
            return Err(format!(
                "dependency {} has disallowed characters in the alias",
                text::quote(&self.name)
            ));
        }
        Ok(())
    }
}

impl Lock {
    /// Sets the fields from a Chart.lock.
    pub(crate) fn decode(&mut self, value: &Value) -> Result<(), YamlError> {
        let place = Place {
            owner: "Lock",
            path: "",
        };
        for (field, value) in
            decode::fields(value, &["generated", "digest", "dependencies"], "v2.Lock")?
        {
            match field {
                "digest" => decode::text(&mut self.digest, place, field, value)?,
                "generated" => {
                    let mut time = String::new();
                    decode::text(&mut time, place, field, value)?;
                    if !value.is_null() {
                        self.generated = Time::parse(&time).ok_or_else(|| {
                            YamlError::Decode(format!(
                                "parsing time {} as \"2006-01-02T15:04:05Z07:00\": cannot parse it",
                                text::quote(&time)
                            ))
                        })?;
                    }
                }
                _ => {
                    let items =
                        decode::structs(place, field, value, "v2.Dependency", Dependency::decode)?;
                    self.dependencies = items.map(|(items, _)| items);
                }
            }
        }
        Ok(())
    }
}
