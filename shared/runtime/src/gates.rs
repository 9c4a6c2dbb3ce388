//! Feature gates (RT-FGM, RT-FGT rows).

use std::collections::BTreeMap;

use crate::values::parse_bool;

/// The feature gates of one controller with their values.
#[derive(Clone, Debug, Default)]
pub struct Gates {
    values: BTreeMap<&'static str, bool>,
}

/// Why the gates on the command line are invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// The controller does not have this gate (RT-FGT-001).
    #[error("feature-gate '{0}' not supported")]
    Unsupported(String),
}

impl Gates {
    /// The gates in `defaults` with the values `given` on the command line, of which the last one wins (RT-FLG-005).
    pub fn new(
        defaults: &[(&'static str, bool)],
        given: &[(String, bool)],
    ) -> Result<Self, GateError> {
        let mut values: BTreeMap<_, _> = defaults.iter().copied().collect();
        for (name, value) in given {
            *values
                .get_mut(name.as_str())
                .ok_or_else(|| GateError::Unsupported(name.clone()))? = *value;
        }
        Ok(Self { values })
    }

    /// Whether `gate` is enabled; false for a gate that the controller does not have.
    pub fn enabled(&self, gate: &str) -> bool {
        self.values.get(gate).copied().unwrap_or_default()
    }
}

/// Parses one occurrence of `--feature-gates`: comma-separated `Name=bool`, with blanks trimmed and empty items skipped
/// (RT-FLG-006).
pub fn parse(text: &str) -> Result<Vec<(String, bool)>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| {
            let (name, value) = item
                .split_once('=')
                .ok_or_else(|| format!("missing bool value for {item}"))?;
            let value = value.trim();
            let on = parse_bool(value)
                .map_err(|_| format!("invalid value of {}: {value}", name.trim()))?;
            Ok((name.trim().to_owned(), on))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_gate_flags_merge_and_later_values_win() {
        // RT-FLG-005, RT-FLG-006
        let mut given = parse(" A=true , ,B=false").unwrap();
        given.extend(parse("B=T").unwrap());
        let gates = Gates::new(&[("A", false), ("B", false), ("C", true)], &given).unwrap();
        assert!(
            gates.enabled("A") && gates.enabled("B") && gates.enabled("C") && !gates.enabled("D")
        );
        assert!(parse("Foo").is_err() && parse("Foo=2").is_err());
    }

    #[test]
    fn unknown_gates_are_refused_even_when_off() {
        // RT-FGT-001, SC-PROC-027
        let refused =
            Gates::new(&[("A", false)], &[("ExternalArtifact".into(), false)]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "feature-gate 'ExternalArtifact' not supported"
        );
    }
}
