//! Key-value pairs from literals, files and env files.

use flux_golang::strconv::quote;

use crate::config::GeneratorArgs;
use crate::error::{Context, Result};
use crate::go::list_of;
use crate::loader::Loader;
use crate::meter::Charge;
use crate::secrecy::MASK;

/// The maximum length of a line in an env file (KZ-GEN-011).
const MAX_LINE: usize = 64 * 1024;

/// An entry of a ConfigMap or Secret.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    /// Whether the key comes from a file, like the value.
    pub(super) read: bool,
}

/// The entries of all sources in the order env files, literals, files (KZ-GEN-003), with their memory charged. Errors
/// about a Secret's entries quote nothing.
pub(super) fn load(
    loader: &Loader<'_>,
    args: &GeneratorArgs,
    secret: bool,
    charge: &mut Charge,
) -> Result<Vec<Entry>> {
    let mut all = Vec::new();
    for path in &args.envs {
        loader
            .load(path)
            .and_then(|text| {
                charge.take(2 * text.len())?;
                Ok(env_lines(&text, &mut all)?)
            })
            .context(|| format!("env source files: {}", list_of(&args.envs)))?;
    }
    for text in &args.literals {
        let Some((key, value)) = literal(text) else {
            let shown = |text: &str| {
                if secret {
                    masked(text)
                } else {
                    text.to_owned()
                }
            };
            let literals: Vec<_> = args.literals.iter().map(|text| shown(text)).collect();
            return Err(format!(
                "literal sources {}: invalid literal source {}, expected key=value",
                list_of(&literals),
                shown(text)
            )
            .into());
        };
        charge.take(text.len())?;
        all.push(Entry {
            key: key.to_owned(),
            value: value.as_bytes().to_vec(),
            read: false,
        });
    }
    for source in &args.files {
        let mut add = || -> Result<()> {
            let (key, path) = file_source(source)?;
            let content = loader.load(path)?;
            charge.take(content.len())?;
            all.push(Entry {
                key: key.to_owned(),
                value: content.to_vec(),
                read: false,
            });
            Ok(())
        };
        add().context(|| format!("file sources: {}", list_of(&args.files)))?;
    }
    Ok(all)
}

/// KZ-GEN-004, KZ-GEN-005
fn literal(text: &str) -> Option<(&str, &str)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Some((key, unquoted(value))),
        _ => None,
    }
}

/// A literal without its value: masked completely if it has no key.
fn masked(literal: &str) -> String {
    match literal.split_once('=') {
        Some((key, _)) if !key.is_empty() => format!("{key}={MASK}"),
        _ => MASK.to_owned(),
    }
}

fn unquoted(text: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(text)
}

/// KZ-GEN-006
fn file_source(source: &str) -> Result<(&str, &str), String> {
    let Some((key, path)) = source.split_once('=') else {
        let name = source.trim_end_matches('/').rsplit('/').next();
        let base = match name {
            Some("") | None if source.is_empty() => ".",
            Some("") | None => "/",
            Some(name) => name,
        };
        return Ok((base, source));
    };
    if path.contains('=') {
        return Err(format!(
            "source {} key name or file path contains '='",
            quote(source)
        ));
    }
    if key.is_empty() {
        return Err(format!(
            "missing key name for file path {} in source {}",
            quote(path),
            quote(source)
        ));
    }
    if path.is_empty() {
        return Err(format!(
            "missing file path for key name {} in source {}",
            quote(key),
            quote(source)
        ));
    }
    Ok((key, path))
}

/// KZ-GEN-008 to KZ-GEN-011
fn env_lines(text: &[u8], all: &mut Vec<Entry>) -> Result<(), String> {
    for (number, line) in text.split(|b| *b == b'\n').enumerate() {
        // The scanner fails on a line that fills its buffer, newline included.
        if line.len() >= MAX_LINE {
            return Ok(());
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(line) = std::str::from_utf8(line) else {
            return Err(format!("line {} has invalid utf8 bytes", number + 1));
        };
        let line = match number {
            0 => line.strip_prefix('\u{feff}').unwrap_or(line),
            _ => line,
        };
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        if !key.is_empty() {
            all.push(Entry {
                key: key.to_owned(),
                value: value.as_bytes().to_vec(),
                read: true,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_lose_one_pair_of_quotes() {
        // KZ-GEN-004, KZ-GEN-005
        for (text, want) in [
            ("a=b", Some(("a", "b"))),
            ("a=\"b\"", Some(("a", "b"))),
            ("a='\"b\"'", Some(("a", "\"b\""))),
            ("a=\"b", Some(("a", "\"b"))),
            ("a=\"", Some(("a", "\""))),
            ("a=b=c", Some(("a", "b=c"))),
            ("=b", None),
            ("a", None),
        ] {
            assert_eq!(literal(text), want, "{text}");
        }
    }

    #[test]
    fn file_sources_name_a_key_or_not() {
        // KZ-GEN-006
        for (source, want) in [
            ("dir/a.txt", Ok(("a.txt", "dir/a.txt"))),
            ("k=dir/a.txt", Ok(("k", "dir/a.txt"))),
            (
                "=a",
                Err("missing key name for file path \"a\" in source \"=a\""),
            ),
            (
                "a=",
                Err("missing file path for key name \"a\" in source \"a=\""),
            ),
            (
                "a=b=c",
                Err("source \"a=b=c\" key name or file path contains '='"),
            ),
        ] {
            assert_eq!(file_source(source), want.map_err(str::to_owned));
        }
    }

    #[test]
    fn env_files_are_taken_verbatim() {
        // KZ-GEN-008, KZ-GEN-009, KZ-GEN-010
        let mut all = Vec::new();
        env_lines(
            "\u{feff}A=1\n  # no\n\n B= \"x\" \nC\r\n=d\n".as_bytes(),
            &mut all,
        )
        .unwrap();
        let all: Vec<_> = all
            .iter()
            .map(|entry| {
                (
                    entry.key.as_str(),
                    std::str::from_utf8(&entry.value).unwrap(),
                )
            })
            .collect();
        assert_eq!(all, [("A", "1"), ("B", " \"x\" "), ("C", "")]);
        assert!(env_lines(b"A=\xff", &mut Vec::new()).is_err());
    }
}
