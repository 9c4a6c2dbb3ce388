//! The definitions in the `crds` folder of a chart.

use flux_errors::chain;
use flux_helm::action::{ApplyMethod, WaitStrategy};
use flux_helm::{Crd, File};
use flux_release::CrdPolicy;
use kind_tests::{Kind, Result, ensure};
use serde_json::json;

use crate::bench::{Bench, files};

/// A definition in a group of its own.
fn definition(group: &str, description: &str) -> String {
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: widgets.{group}\nspec:\n  group: {group}\n  names: {{kind: Widget, plural: widgets}}\n  scope: Namespaced\n  versions:\n  - name: v1\n    served: true\n    storage: true\n    schema: {{openAPIV3Schema: {{type: object, description: {description}}}}}\n"
    )
}

fn crd(name: &str, text: &str) -> Crd {
    Crd {
        filename: format!("web/{name}"),
        file: File::new(name, text.to_owned()),
    }
}

const DEFINITION: Kind = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_are_created_or_replaced_as_the_policy_says() -> Result {
    for method in [ApplyMethod::ServerSide, ApplyMethod::ClientSide] {
        let mut ours = Bench::new("helm-crds", &files(&[])).await?;
        ours.options.wait = WaitStrategy::Watcher;
        let group = format!("{}.example.com", ours.namespace.name());
        let name = format!("widgets.{group}");
        let origin = (ours.namespace.name().to_owned(), "podinfo");
        let apply = async |text: String, policy| {
            let crds = [crd("crds/widgets.yaml", &text)];
            let origin = (origin.0.as_str(), origin.1);
            let releaser = ours.releaser();
            releaser
                .apply_definitions(&crds, policy, method, origin)
                .await
        };
        let live = async || -> Result<serde_json::Value> {
            Ok(ours
                .namespace
                .get(DEFINITION, &name)
                .await?
                .unwrap_or_default())
        };
        let description = "/spec/versions/0/schema/openAPIV3Schema/description";
        // HC-CRD-001
        let skipped = apply(definition(&group, "first"), CrdPolicy::Skip).await?;
        ensure!(
            skipped.applied == 0 && live().await?.is_null(),
            "{method:?}: it was not skipped"
        );
        // HC-CRD-006, HC-CRD-008
        let both = format!(
            "{}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: no-crd}}\n",
            definition(&group, "first")
        );
        let created = apply(both, CrdPolicy::Create).await?;
        let made = live().await?;
        ensure!(created.applied == 1, "{method:?}: {created:?}");
        // HC-CRD-004, FR-H-056
        ensure!(
            created.ignored == [format!("/ConfigMap/{}/no-crd", origin.0)],
            "{:?}",
            created.ignored
        );
        let conditions = made["status"]["conditions"].to_string();
        ensure!(
            conditions.contains("Established"),
            "{method:?}: {conditions}"
        );
        // HC-CRD-005
        ensure!(
            made["metadata"]["labels"]
                == json!({ "helm.toolkit.fluxcd.io/name": "podinfo", "helm.toolkit.fluxcd.io/namespace": origin.0 }),
            "{made}"
        );
        // HC-CRD-012
        let again = apply(definition(&group, "second"), CrdPolicy::Create).await?;
        let same = live().await?;
        ensure!(again.applied == 0, "{method:?}: {again:?}");
        ensure!(
            made["metadata"]["resourceVersion"] == same["metadata"]["resourceVersion"],
            "{method:?}: it was changed"
        );
        // HC-CRD-007
        let replaced = apply(definition(&group, "third"), CrdPolicy::CreateReplace).await?;
        let changed = live().await?;
        ensure!(replaced.applied == 1, "{method:?}: {replaced:?}");
        ensure!(
            changed.pointer(description) == Some(&json!("third")),
            "{method:?}: {changed}"
        );
        // HC-CRD-010
        let broken = definition(&group, "fourth").replace("scope: Namespaced", "scope: Nowhere");
        let error = apply(broken, CrdPolicy::CreateReplace).await.err();
        let error = error.map(|error| chain(&error)).unwrap_or_default();
        ensure!(
            error.starts_with("failed to update CustomResourceDefinition(s): "),
            "{error}"
        );
        let error = apply("a: [".to_owned(), CrdPolicy::Create).await.err();
        let error = error.map(|error| chain(&error)).unwrap_or_default();
        ensure!(
            error.starts_with("failed to parse CustomResourceDefinitions from crds/widgets.yaml: "),
            "{error}"
        );
        ours.namespace.delete(DEFINITION, &name).await?;
    }
    Ok(())
}
