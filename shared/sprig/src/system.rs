//! Access to the environment and to name resolution, both through the host.

use flux_gotemplate::{CallError, Context, Functions, Str};

pub(super) fn register(f: &mut Functions) {
    f.add("env", |c: &mut Context<'_>, name: Str| {
        variable(c, &name.to_text())
    });
    f.add("expandenv", |c: &mut Context<'_>, text: Str| {
        expand(c, &text.to_text())
    });
    f.add("getHostByName", |c: &mut Context<'_>, name: Str| {
        let found = c.environment().resolve(&name.to_text()).unwrap_or_default();
        // Upstream chooses a random address, and panics without one.
        found
            .into_iter()
            .next()
            .ok_or_else(|| CallError::new("invalid argument to Intn"))
    });
}

fn variable(c: &Context<'_>, name: &str) -> String {
    c.environment().variable(name).unwrap_or_default()
}

/// `os.ExpandEnv`: `$name` and `${name}`.
fn expand(c: &Context<'_>, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let after = after.get(1..).unwrap_or_default();
        let (name, width) = shell_name(after);
        if name.is_empty() && width == 0 {
            out.push('$');
        } else if !name.is_empty() {
            out.push_str(&variable(c, name));
        }
        rest = after.get(width..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// `os.getShellName`: the name and its length in bytes. Invalid syntax has a length but no name.
fn shell_name(text: &str) -> (&str, usize) {
    let special = |b: u8| {
        matches!(
            b,
            b'*' | b'#' | b'$' | b'@' | b'!' | b'?' | b'-' | b'0'..=b'9'
        )
    };
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'{') => {
            if bytes.len() > 2 && special(bytes[1]) && bytes[2] == b'}' {
                return (text.get(1..2).unwrap_or_default(), 3);
            }
            match text.find('}') {
                Some(1) => ("", 2),
                Some(end) => (text.get(1..end).unwrap_or_default(), end + 1),
                None => ("", 1),
            }
        }
        Some(b) if special(*b) => (text.get(..1).unwrap_or_default(), 1),
        _ => {
            let end = bytes
                .iter()
                .position(|b| !(b.is_ascii_alphanumeric() || *b == b'_'))
                .unwrap_or(bytes.len());
            (text.get(..end).unwrap_or_default(), end)
        }
    }
}
