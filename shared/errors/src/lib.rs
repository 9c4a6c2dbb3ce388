//! Formats an error with its sources as one line, as Go's `%w` does.
//!
//! Errors of this project do not repeat their source in their own text: the code that prints an error walks its chain.
//!
//! ```
//! let error = u8::from_str_radix("x", 10).map_err(std::io::Error::other).unwrap_err();
//! assert_eq!(flux_errors::chain(&error), "invalid digit found in string");
//! ```

use std::error::Error;

/// The texts of an error and its sources, the outermost first, joined by `: `.
///
/// A source is skipped if the line already ends with its text, since some libraries print their source in their own text.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    append_sources(&mut line, error.source(), &|_| None);
    line
}

/// As [`chain`], except that if `whole` returns a text for an error, that text replaces the error and all its sources. This
/// is for errors of libraries whose own text must not be shown.
pub fn chain_with(
    error: &(dyn Error + 'static),
    whole: impl Fn(&(dyn Error + 'static)) -> Option<String>,
) -> String {
    whole(error).unwrap_or_else(|| {
        let mut line = error.to_string();
        append_sources(&mut line, error.source(), &whole);
        line
    })
}

fn append_sources(
    line: &mut String,
    mut source: Option<&(dyn Error + 'static)>,
    whole: &dyn Fn(&(dyn Error + 'static)) -> Option<String>,
) {
    while let Some(error) = source {
        let replaced = whole(error);
        source = match replaced {
            Some(_) => None,
            None => error.source(),
        };
        let text = replaced.unwrap_or_else(|| error.to_string());
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fmt;

    use super::{chain, chain_with};

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|inner| inner as _)
        }
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let mut texts = texts.iter().rev();
        let innermost = Layer(texts.next().unwrap(), None);
        texts.fold(innermost, |inner, text| Layer(text, Some(Box::new(inner))))
    }

    #[test]
    fn sources_follow_unless_the_line_ends_with_them() {
        for (texts, line) in [
            (&["a"][..], "a"),
            (&["a", "b", "c"], "a: b: c"),
            // The error of a library that prints its source in its own text.
            (&["a: b", "b", "c"], "a: b: c"),
            (&["a: b: c", "b: c", "c"], "a: b: c"),
            (&["b: a", "b"], "b: a: b"),
        ] {
            assert_eq!(chain(&layers(texts)), line, "{texts:?}");
            assert_eq!(chain_with(&layers(texts), |_| None), line, "{texts:?}");
        }
    }

    #[test]
    fn a_replaced_error_hides_its_sources() {
        let whole = |error: &(dyn Error + 'static)| {
            (error.to_string() == "secret").then(|| "shown".to_owned())
        };
        assert_eq!(
            chain_with(&layers(&["a", "secret", "c"]), whole),
            "a: shown"
        );
        assert_eq!(chain_with(&layers(&["secret", "c"]), whole), "shown");
    }
}
