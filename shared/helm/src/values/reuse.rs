//! Reusing the values of a release in an upgrade.

use flux_gotemplate::Map;

use super::{Coalesce, ValueChart, Warnings, from_yaml, to_yaml};
use crate::{Chart, Release, Values};

/// The chart of a record: it has no subcharts.
struct Recorded(Map);

impl ValueChart for Recorded {
    fn name(&self) -> &'static str {
        ""
    }

    fn default_values(&self) -> Map {
        self.0.clone()
    }

    fn subcharts(&self) -> &[Self] {
        &[]
    }
}

/// Reuses the values of `base` for an upgrade to `chart` (HE-VAL-018): the merged values of the old release become the new
/// chart's defaults, and `values` override the old user's values. Returns the values to render and to record.
pub fn reuse_values(base: &Release, chart: &mut Chart, values: &Values) -> Values {
    let warnings = Warnings::default();
    let coalesce = Coalesce::deleting(&warnings);
    let defaults = base.chart.as_ref().and_then(|chart| chart.values.as_ref());
    let recorded = Recorded(defaults.map_or_else(Map::new, from_yaml));
    // Without subcharts no table can have the wrong type.
    if let Ok(old) = coalesce.chart(&recorded, &from_yaml(&base.config)) {
        chart.values = Some(to_yaml(&old.to_constants()));
    }
    let values = from_yaml(values);
    coalesce.tables(&values, &from_yaml(&base.config), "");
    to_yaml(&values.to_constants())
}
