//! Access to the cluster for `lookup` in templates.

use flux_yaml::Value;

/// Access to the cluster for the `lookup` function (HE-ENG-014).
pub trait Lookup {
    /// Returns the object, or the list of all objects if `name` is empty (in `namespace`, unless that is empty or the kind
    /// is cluster-scoped), as the API server returns it. Returns an empty mapping if nothing is found. The text of an error
    /// ends the render.
    fn lookup(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, String>;
}

/// No cluster: nothing is found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offline;

impl Lookup for Offline {
    fn lookup(&self, _: &str, _: &str, _: &str, _: &str) -> Result<Value, String> {
        Ok(Value::map())
    }
}
