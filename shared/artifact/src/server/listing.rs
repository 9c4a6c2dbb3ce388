//! Folder listings.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

/// The most entries on a page, by name: pages are held in memory for as long as clients take to read them.
const MAX_ENTRIES: usize = 1000;

/// The page for a folder: one link per entry, sorted by name.
pub(super) fn of(dir: &Path) -> io::Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        names.push((entry.file_name(), entry.file_type()?.is_dir()));
        if names.len() > 2 * MAX_ENTRIES {
            names.sort();
            names.truncate(MAX_ENTRIES);
        }
    }
    names.sort();
    names.truncate(MAX_ENTRIES);
    let mut page = String::from(
        "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n",
    );
    for (name, is_dir) in names {
        let slash = if is_dir { "/" } else { "" };
        let name = format!("{}{slash}", name.to_string_lossy());
        // Writing to a string cannot fail.
        let _ = writeln!(page, "<a href=\"{}\">{}</a>", href(&name), html(&name));
    }
    page.push_str("</pre>\n");
    Ok(page)
}

/// A relative link to `name`. If its first segment contains a colon it needs a `./`, or it would be read as a scheme.
fn href(name: &str) -> String {
    let mut link = String::new();
    if name.contains(':') {
        link.push_str("./");
    }
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => link.push(byte.into()),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'='
            | b'@' => {
                link.push(byte.into());
            }
            byte => {
                let _ = write!(link, "%{byte:02X}");
            }
        }
    }
    link
}

/// A text, escaped for a page.
pub(super) fn html(name: &str) -> String {
    name.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        for (name, link, text) in [
            ("a.tar.gz", "a.tar.gz", "a.tar.gz"),
            ("sha256:ab.tar.gz", "./sha256:ab.tar.gz", "sha256:ab.tar.gz"),
            ("a b?#<x>/", "a%20b%3F%23%3Cx%3E/", "a b?#&lt;x&gt;/"),
            ("\"'&", "%22%27&", "&#34;&#39;&amp;"),
            ("é", "%C3%A9", "é"),
        ] {
            assert_eq!((href(name).as_str(), html(name).as_str()), (link, text));
        }
    }
}
