//! The result of a build: objects and warnings.

use flux_yaml::{Map, Value};

use crate::id::Gvk;
use crate::node::Extent;
use crate::remote::RemoteBase;

/// The result of a build.
#[derive(Clone, Debug, PartialEq)]
pub enum Build {
    /// The build is complete.
    Done(Output),
    /// The build needs these: fetch them into [`Remotes`](crate::Remotes), then build again. More may follow, since
    /// fetched files may refer to other bases.
    Needs(Vec<RemoteBase>),
}

/// The output of a complete build.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Output {
    /// The objects.
    pub resources: Resources,
    /// Warnings about the sources, such as deprecated fields.
    pub warnings: Vec<Warning>,
}

/// A warning about a deprecated field and the like (KZ-FILE-019).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub String);

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The objects of a build, in output order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources(pub(crate) Vec<Resource>);

impl Resources {
    /// The objects, in output order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Resource> {
        self.0.iter()
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no objects.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The output of `kustomize build`, byte for byte, also used for digests (KZ-YAML rows).
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        for resource in &self.0 {
            if !out.is_empty() {
                out.push_str("---\n");
            }
            out.push_str(&resource.to_yaml());
        }
        out
    }
}

impl IntoIterator for Resources {
    type Item = Resource;
    type IntoIter = std::vec::IntoIter<Resource>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The estimated memory of a value in bytes: what the build's [`Allowance`](crate::Allowance) holds for an object.
pub fn memory_of(value: &Value) -> u64 {
    Extent::of_value(value).bytes as u64
}

/// One object.
#[derive(Clone, PartialEq)]
pub struct Resource {
    pub(crate) value: Value,
}

impl std::fmt::Debug for Resource {
    /// Shows only type and name: the object may be a Secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Resource({} {} {}/{})",
            self.api_version(),
            self.kind(),
            self.namespace(),
            self.name()
        )
    }
}

impl Resource {
    fn text<'k>(&self, path: impl IntoIterator<Item = &'k str>) -> &str {
        self.value
            .at(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Kind, version and group as kustomize's messages show them: `Deployment.v1.apps`, `Service.v1.[noGrp]`.
    pub fn gvk_text(&self) -> String {
        Gvk::new(self.api_version(), self.kind()).to_string()
    }

    /// `apiVersion`; empty if absent.
    pub fn api_version(&self) -> &str {
        self.text(["apiVersion"])
    }

    /// `kind`.
    pub fn kind(&self) -> &str {
        self.text(["kind"])
    }

    /// `metadata.name`; empty if absent.
    pub fn name(&self) -> &str {
        self.text(["metadata", "name"])
    }

    /// `metadata.namespace`; empty if absent.
    pub fn namespace(&self) -> &str {
        self.text(["metadata", "namespace"])
    }

    /// `metadata.annotations`, if present.
    pub fn annotations(&self) -> Option<&Map> {
        self.value
            .at(["metadata", "annotations"])
            .and_then(Value::as_map)
    }

    /// The whole object.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The whole object.
    pub fn into_value(self) -> Value {
        self.value
    }

    /// The object as `kustomize build` prints it.
    pub fn to_yaml(&self) -> String {
        // The build has checked that it can be written.
        flux_yaml::sigs::to_string(&self.value).unwrap_or_default()
    }
}
