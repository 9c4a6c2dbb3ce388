//! Regular expressions, and what looking for them costs.

use flux_golang::regexp;

/// A compiled expression.
#[derive(Clone, Debug)]
pub(crate) struct Regex {
    regex: regexp::Regex,
    /// How much a byte of text may cost.
    weight: u64,
}

/// How large a compiled expression may get.
const SIZE_LIMIT: usize = 1 << 20;
/// How large one is whose states the engine keeps apart without trouble.
const SMALL: usize = 32 << 10;

impl Regex {
    /// Compiles an expression in Go's syntax.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let build = |bytes| regexp::Regex::compile_within(pattern.as_bytes(), bytes);
        // Nearly all fit the first. The others may take as many turns for each byte as they have states.
        let built = match build(SMALL) {
            Ok(regex) => Ok(Self { regex, weight: 1 }),
            Err(error) if error.is_too_large() => build(SIZE_LIMIT).map(|regex| Self {
                regex,
                weight: (SIZE_LIMIT / SMALL * 8) as u64,
            }),
            Err(error) => Err(error),
        };
        built.map_err(|error| error.to_string())
    }

    /// Whether the expression matches somewhere in the text.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The steps that looking for a match in a text may take.
    pub(crate) fn cost(&self, text: &str) -> u64 {
        (text.len() as u64 / 8 + 4) * self.weight
    }
}

/// Whether the text means itself as an expression.
pub(crate) fn is_literal(pattern: &str) -> bool {
    !pattern.contains([
        '\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$',
    ])
}

#[cfg(test)]
mod tests {
    use super::is_literal;

    #[test]
    fn literals_are_told_from_expressions() {
        assert!(is_literal("my-app"));
        assert!(!is_literal("my.app"));
    }
}
