//! State shared by all layers of one build.

use std::rc::Rc;

use bytes::Bytes;

use crate::error::{Context, Result};
use crate::meter::Meter;
use crate::options::Options;
use crate::schema::Schema;
use crate::scope::Scopes;
use crate::transformer_config::TransformerConfig;

/// The state of a build.
pub(crate) struct State<'b> {
    pub(crate) options: &'b Options,
    /// The built-in field specs.
    pub(crate) defaults: Rc<TransformerConfig>,
    meter: Rc<Meter>,
    schema: Option<Schema>,
    scopes: Scopes,
    /// Whether a kustomization has chosen the schema (KZ-ORD-010).
    chosen: bool,
    shares: u32,
}

impl<'b> State<'b> {
    pub(crate) fn new(options: &'b Options, meter: &Rc<Meter>) -> Self {
        Self {
            options,
            defaults: Rc::new(TransformerConfig::defaults()),
            meter: Rc::clone(meter),
            schema: options.keep_builtin_schema.then(Schema::builtin),
            scopes: Scopes::default(),
            chosen: false,
            shares: 0,
        }
    }

    /// A new share number, for a value in several fields of one object.
    pub(crate) fn next_share(&mut self) -> u32 {
        self.shares = self.shares.wrapping_add(1).max(1);
        self.shares
    }

    /// Counts the work and memory of the build.
    pub(crate) fn meter(&self) -> &Rc<Meter> {
        &self.meter
    }

    pub(crate) fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    pub(crate) fn resource_limit(&self) -> usize {
        self.options.limits.resources
    }

    /// The schema, loaded on demand.
    pub(crate) fn schema(&mut self) -> &mut Schema {
        self.schema.get_or_insert_with(Schema::builtin)
    }

    /// Sets the schema of a kustomization's `openapi`, unless an outer one has set it (KZ-OAPI-001 to KZ-OAPI-004).
    pub(crate) fn choose_schema(
        &mut self,
        version: Option<&str>,
        document: Option<Bytes>,
    ) -> Result<()> {
        if self.chosen {
            return Ok(());
        }
        match (version, document) {
            (Some(_), Some(_)) => {
                Err("builtin version and custom schema provided, cannot use both".into())
            }
            (None, Some(document)) => {
                self.chosen = true;
                // Types already in use stay known; kinds already looked up as unknown trigger loading the built-in
                // schema.
                let schema = self.schema.get_or_insert_default();
                schema
                    .add_document(&document, &self.meter)
                    .context(|| "invalid schema file".into())?;
                if self.scopes.asked_for_unknown() {
                    schema.add_builtin();
                }
                self.scopes = schema.scopes.clone();
                Ok(())
            }
            (Some("v1.21.2"), None) => {
                self.chosen = true;
                Ok(())
            }
            (Some("") | None, None) => Ok(()),
            (Some(_), None) => Err("the specified OpenAPI version is not built in".into()),
        }
    }
}
