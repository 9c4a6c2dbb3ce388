//! What `lookup` in a template asks.

use flux_yaml::Value;

/// How the `lookup` function reaches the cluster (HE-ENG-014).
pub trait Lookup {
    /// The object, or where `name` is empty the list of all (in `namespace` unless that is empty or the kind has none), as
    /// Kubernetes gives it. What is not found is an empty mapping; an error's text ends the render.
    fn lookup(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, String>;
}

/// No cluster: nothing is ever found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offline;

impl Lookup for Offline {
    fn lookup(&self, _: &str, _: &str, _: &str, _: &str) -> Result<Value, String> {
        Ok(Value::map())
    }
}
