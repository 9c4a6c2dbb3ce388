//! Regular expressions.

use std::sync::Arc;

use flux_golang::regexp::{Regex, quote_meta};
use flux_golang::strconv;
use flux_gotemplate::{CallError, Context, Functions, List, Str, types};

/// Maximum bytes of the result of one replacement.
const MAX_REPLACED: usize = 1 << 30;

/// How an invalid expression is reported: `regexp.MustCompile` panics, `regexp.Compile` returns an error.
type Compile = fn(&Str) -> Result<Arc<Regex>, CallError>;

pub(super) fn register(f: &mut Functions) {
    f.add("regexMatch", |re: Str, s: Str| {
        Regex::cached(&re).is_ok_and(|re| re.is_match(&*s))
    });
    f.add("mustRegexMatch", |re: Str, s: Str| {
        Ok::<_, CallError>(returned(&re)?.is_match(&*s))
    });
    f.add("regexQuoteMeta", |s: Str| Str::from(quote_meta(&s)));
    for (prefix, compile) in [("regex", panicked as Compile), ("mustRegex", returned)] {
        f.add(&format!("{prefix}Find"), move |re: Str, s: Str| {
            let re = compile(&re)?;
            Ok::<_, CallError>(re.find(&s).map(Str::new).unwrap_or_default())
        });
        f.add(
            &format!("{prefix}FindAll"),
            move |re: Str, s: Str, n: i64| {
                let found = compile(&re)?.find_all(&s, usize::try_from(n).ok());
                if found.is_empty() {
                    return Ok::<_, CallError>(List::nil(&types::STRING_SLICE));
                }
                let parts = found.iter().map(|&(a, b)| s.get(a..b).unwrap_or_default());
                Ok(List::strings(parts))
            },
        );
        f.add(&format!("{prefix}Split"), move |re: Str, s: Str, n: i64| {
            if n == 0 {
                compile(&re)?;
                return Ok::<_, CallError>(List::nil(&types::STRING_SLICE));
            }
            Ok(List::strings(
                compile(&re)?.split(&s, usize::try_from(n).ok()),
            ))
        });
        f.add(
            &format!("{prefix}ReplaceAll"),
            move |c: &mut Context<'_>, re: Str, s: Str, with: Str| {
                replaced(c, compile(&re)?.replace_expanding(&s, &with, MAX_REPLACED))
            },
        );
        f.add(
            &format!("{prefix}ReplaceAllLiteral"),
            move |c: &mut Context<'_>, re: Str, s: Str, with: Str| {
                replaced(c, compile(&re)?.replace_literal(&s, &with, MAX_REPLACED))
            },
        );
    }
}

fn replaced(c: &mut Context<'_>, text: Option<Vec<u8>>) -> Result<Str, CallError> {
    let text = text.ok_or_else(|| CallError::limit("the replaced text is too long"))?;
    c.spend(text.len() as u64 / 64)?;
    Ok(text.into())
}

fn returned(re: &Str) -> Result<Arc<Regex>, CallError> {
    Regex::cached(re).map_err(|e| CallError::new(e.to_string()))
}

fn panicked(re: &Str) -> Result<Arc<Regex>, CallError> {
    Regex::cached(re).map_err(|e| {
        let quoted = if strconv::can_backquote(re) {
            format!("`{re}`")
        } else {
            strconv::quote(re)
        };
        CallError::new(format!("regexp: Compile({quoted}): {e}"))
    })
}
