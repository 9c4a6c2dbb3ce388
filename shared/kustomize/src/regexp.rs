//! Regular expressions with bounded size and matching cost.

use flux_golang::regexp;

/// A compiled expression.
#[derive(Clone, Debug)]
pub(crate) struct Regex {
    regex: regexp::Regex,
    /// The steps that are charged per 8 bytes of text.
    weight: u64,
}

/// The maximum size of a compiled expression in bytes.
const SIZE_LIMIT: usize = 1 << 20;
/// The maximum size in bytes of an expression that takes a constant number of steps per byte.
const SMALL: usize = 32 << 10;

impl Regex {
    /// Compiles an expression in Go's syntax.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let build = |bytes| regexp::Regex::compile_within(pattern.as_bytes(), bytes);
        // Nearly all expressions fit the first limit. The others may take as many steps per byte as they have states.
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

    /// The steps that are charged for a search of the text.
    pub(crate) fn cost(&self, text: &str) -> u64 {
        (text.len() as u64 / 8 + 4) * self.weight
    }
}

/// Whether the text is a literal: an expression that matches only itself.
pub(crate) fn is_literal(pattern: &str) -> bool {
    !pattern.contains([
        '\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$',
    ])
}

#[cfg(test)]
mod tests {
    use super::is_literal;

    #[test]
    fn literals_are_distinguished_from_expressions() {
        assert!(is_literal("my-app"));
        assert!(!is_literal("my.app"));
    }
}
