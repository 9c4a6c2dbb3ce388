//! Renders the chart for an action (HC-POST rows, HC-PROC-033, HC-VAL-016).

use std::net::ToSocketAddrs as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use flux_gotemplate::{CallError, Environment, Time};
use flux_helm::{ParsedChart, RenderOptions, Rendered, Values};
use flux_kustomize::Allowance;
use flux_release::Releaser;
use flux_release::post_render::PostRenderers;
use rand::Rng as _;

use super::super::pass::Pass;
use super::super::settings;
use super::make::NotStarted;

/// The manifests of the chart for this revision of the release; the second part of `revision` says whether it is an upgrade.
pub(super) async fn render(
    pass: &Pass<'_>,
    releaser: &Releaser,
    chart: ParsedChart,
    values: Values,
    (revision, is_upgrade): (i64, bool),
    skip_schema_validation: bool,
) -> Result<Rendered, NotStarted> {
    let (object, policy) = (&pass.object, &pass.tools.policy);
    let spec = &object.spec;
    let cluster = &pass.target.cluster;
    let capabilities = releaser.capabilities().await;
    let (capabilities, warnings) = capabilities.map_err(NotStarted::Capabilities)?;
    for warning in warnings {
        tracing::debug!("warning: {warning}");
    }
    let post_renderers = PostRenderers::new(
        &spec.post_renderers,
        spec.common_metadata.as_ref(),
        (&pass.key.namespace, &pass.key.name),
        Allowance::new(Arc::new(pass.tools.budget.claim())),
    );
    let options = RenderOptions {
        revision,
        is_upgrade,
        capabilities,
        skip_schema_validation,
        enable_dns: policy.allow_dns,
        environment: Arc::new(System {
            resolves: policy.allow_dns,
        }),
        post_renderer: Some(Arc::new(post_renderers)),
        post_render_strategy: settings::post_render_strategy(object, policy.helm3_defaults),
        memory: Some(Arc::new(pass.tools.budget.claim())),
        ..RenderOptions::new(&*pass.name, &*pass.namespace)
    };
    let documents = &pass.tools.documents;
    let rendered = flux_release::render(cluster, chart, values, options, documents).await?;
    for warning in &rendered.warnings {
        tracing::debug!("{warning}");
    }
    Ok(rendered)
}

/// The clock, the random numbers and the resolver of the system.
struct System {
    /// Whether names are resolved (HC-PROC-033).
    resolves: bool,
}

impl Environment for System {
    fn now(&self) -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = since.unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
        Time::unix(seconds, since.subsec_nanos())
    }

    fn random(&self, buffer: &mut [u8]) -> Result<(), CallError> {
        rand::rng().fill_bytes(buffer);
        Ok(())
    }

    fn resolve(&self, host: &str) -> Result<Vec<String>, CallError> {
        let unknown = || CallError::new(format!("lookup {host}: no such host"));
        if !self.resolves {
            return Err(unknown());
        }
        let found = (host, 0).to_socket_addrs().map_err(|_| unknown())?;
        Ok(found.map(|address| address.ip().to_string()).collect())
    }
}
