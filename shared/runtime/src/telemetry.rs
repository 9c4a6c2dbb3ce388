//! OpenTelemetry traces, exported by OTLP if the standard variables configure it.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;

/// The tracer provider, which must be shut down to flush its spans.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// The provider that the `OTEL_*` variables configure; `None` if neither an endpoint nor an exporter is named, or
    /// the SDK is disabled.
    pub(crate) fn from_env(service: &'static str) -> Result<Option<Self>, ExporterBuildError> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let off = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let exporter = set("OTEL_TRACES_EXPORTER");
        let endpoint = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let wanted = match exporter.as_deref() {
            Some("otlp") => true,
            Some(_) => false,
            None => endpoint.is_some(),
        };
        if off || !wanted {
            return Ok(None);
        }
        let protocol = set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            .or_else(|| set("OTEL_EXPORTER_OTLP_PROTOCOL"));
        let exporter = match protocol.as_deref() {
            Some("grpc") => SpanExporter::builder().with_tonic().build()?,
            _ => SpanExporter::builder().with_http().build()?, // http/protobuf, the specification's default
        };
        let name = set("OTEL_SERVICE_NAME").unwrap_or_else(|| service.to_owned());
        let resource = Resource::builder().with_service_name(name).build();
        Ok(Some(Self(
            SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_resource(resource)
                .build(),
        )))
    }

    /// The tracer that spans go to.
    pub(crate) fn tracer(&self) -> opentelemetry_sdk::trace::SdkTracer {
        self.0.tracer("flux")
    }

    /// Flushes the remaining spans.
    pub(crate) fn shutdown(&self) {
        if let Err(error) = self.0.shutdown() {
            tracing::error!(
                logger = "setup",
                error = crate::outcome::chain(&error),
                "unable to flush traces"
            );
        }
    }
}
