//! Objects between the engine and the requests.

use flux_apply::{ObjectId, RequestError};
use flux_helm::action::Object;
use flux_yaml::json::{self, Escape};
use serde_json::Value;

/// An object as requests carry it.
pub(crate) fn request_of(object: &Object) -> Result<flux_apply::Object, RequestError> {
    let parsed = json::to_string(&object.value, Escape::Plain)
        .ok()
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        .and_then(flux_apply::Object::new);
    parsed.ok_or_else(|| local("the object cannot be written as JSON"))
}

/// A live object, or its metadata, as the engine reads it.
pub(crate) fn value_of(live: &flux_apply::Object) -> flux_yaml::Value {
    let text = serde_json::to_string(live.fields()).unwrap_or_default();
    let mut value = json::from_str(text).unwrap_or_default();
    value.kubernetes_numbers();
    value
}

/// What an object is known by.
pub(crate) fn id_of(object: &Object) -> ObjectId {
    let identity = object.identity();
    ObjectId {
        group: identity.group.to_owned(),
        kind: identity.kind.to_owned(),
        namespace: identity.namespace.to_owned(),
        name: identity.name.to_owned(),
    }
}

/// The object as messages about requests name it, `apps/web apps/v1, Kind=Deployment`.
pub(crate) fn named(object: &Object) -> String {
    let (namespace, name, kind) = (&object.namespace, &object.name, &object.kind);
    let slash = if object.api_version.contains('/') {
        ""
    } else {
        "/"
    };
    format!(
        "{namespace}/{name} {slash}{}, Kind={kind}",
        object.api_version
    )
}

/// An error of this side rather than of the server.
pub(crate) fn local(message: &str) -> RequestError {
    RequestError {
        code: 0,
        reason: String::new(),
        message: message.to_owned(),
        is_manager_conflict: false,
    }
}

#[cfg(test)]
mod tests {
    use flux_helm::action::{Scope, objects};

    use super::{named, request_of, value_of};

    // HE-KUBE-011
    #[test]
    fn objects_are_named_as_go_names_them() {
        let manifest = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: b}\n";
        let scope = |_: &str, kind: &str| {
            let cluster = kind == "ClusterRole";
            Some(if cluster {
                Scope::Cluster
            } else {
                Scope::Namespaced
            })
        };
        let built = objects(manifest, "apps", &scope).unwrap();
        let names: Vec<_> = built.iter().map(named).collect();
        assert_eq!(
            names,
            [
                "apps/a /v1, Kind=ConfigMap",
                "/b rbac.authorization.k8s.io/v1, Kind=ClusterRole"
            ]
        );
    }

    #[test]
    fn an_object_keeps_its_numbers_on_the_way() {
        let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nnumbers: [1, -7, 1.5, 9223372036854775807, 0.1]\n";
        let built = objects(manifest, "apps", &|_, _| Some(Scope::Namespaced)).unwrap();
        let request = request_of(&built[0]).unwrap();
        let numbers = request.at(&["numbers"]).unwrap().to_string();
        assert_eq!(numbers, "[1,-7,1.5,9223372036854775807,0.1]");
        assert_eq!(value_of(&request), built[0].value);
    }
}
