//! Go's `net/url`.

use std::net::Ipv6Addr;

use crate::{path, strconv};

/// A URL with unescaped parts.
#[derive(Clone, Debug, Default)]
pub struct Url {
    /// In lower case; empty for a relative URL.
    pub scheme: Vec<u8>,
    /// The rest of a URL without slashes after the scheme, as in `mailto:a@b`.
    pub opaque: Vec<u8>,
    /// Name and password.
    pub user: Option<User>,
    /// Host and port, as written.
    pub host: Vec<u8>,
    /// The unescaped path.
    pub path: Vec<u8>,
    /// The escaped path, if its escapes differ from the default.
    raw_path: Vec<u8>,
    /// The escaped query without the question mark.
    pub query: Vec<u8>,
    /// Whether the URL has a question mark with an empty query.
    force_query: bool,
    /// The unescaped fragment without the number sign.
    pub fragment: Vec<u8>,
    /// The fragment with its escapes, where these are not the usual ones.
    raw_fragment: Vec<u8>,
}

/// `url.Userinfo`
#[derive(Clone)]
pub struct User {
    name: Vec<u8>,
    password: Option<Vec<u8>>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").finish_non_exhaustive()
    }
}

impl User {
    /// `Userinfo.String`
    pub fn text(&self) -> Vec<u8> {
        let mut out = escape(&self.name, Part::User);
        if let Some(password) = &self.password {
            out.push(b':');
            out.extend(escape(password, Part::User));
        }
        out
    }
}

/// The part of a URL, which determines the characters to escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Path,
    Host,
    Zone,
    User,
    Fragment,
}

impl Part {
    fn escapes(self, b: u8) -> bool {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~') {
            return false;
        }
        match self {
            Self::Host | Self::Zone => !b"!$&'()*+,;=:[]<>\"".contains(&b),
            Self::Path => !b"$&+,/:;=@".contains(&b),
            Self::User => !b"$&+,;=".contains(&b),
            Self::Fragment => !b"$&+,/:;=?@!()*".contains(&b),
        }
    }
}

fn escape(text: &[u8], part: Part) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &b in text {
        if part.escapes(b) {
            out.extend_from_slice(format!("%{b:02X}").as_bytes());
        } else {
            out.push(b);
        }
    }
    out
}

fn bad_escape(text: &[u8]) -> String {
    format!("invalid URL escape {}", strconv::quote(text))
}

fn unescape(text: &[u8], part: Part) -> Result<Vec<u8>, String> {
    let hex = |b: Option<&u8>| b.and_then(|&b| char::from(b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut i = 0;
    while let Some(&b) = text.get(i) {
        if b == b'%' {
            let triple = text.get(i..(i + 3).min(text.len())).unwrap_or_default();
            let (Some(high), Some(low)) = (hex(text.get(i + 1)), hex(text.get(i + 2))) else {
                return Err(bad_escape(triple));
            };
            let byte = (high << 4 | low) as u8;
            let refused = triple != b"%25"
                && match part {
                    Part::Host => high < 8,
                    Part::Zone => byte != b' ' && Part::Host.escapes(byte),
                    _ => false,
                };
            if refused {
                return Err(bad_escape(triple));
            }
            out.push(byte);
            i += 3;
            continue;
        }
        if matches!(part, Part::Host | Part::Zone) && b < 0x80 && part.escapes(b) {
            return Err(format!(
                "invalid character {} in host name",
                strconv::quote([b])
            ));
        }
        out.push(b);
        i += 1;
    }
    Ok(out)
}

fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, text) {
        Some(i) => (&text[..i], text.get(i + 1..)),
        None => (text, None),
    }
}

impl Url {
    /// `url.Parse`; the error text is Go's.
    ///
    /// # Errors
    /// The text is not a URL.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let (before, fragment) = cut(text, b'#');
        let wrap = |shown: &[u8], e: String| format!("parse {}: {e}", strconv::quote(shown));
        let mut url = Self::parse_before_fragment(before).map_err(|e| wrap(before, e))?;
        if let Some(fragment) = fragment {
            url.fragment = unescape(fragment, Part::Fragment).map_err(|e| wrap(text, e))?;
            if escape(&url.fragment, Part::Fragment) != fragment {
                url.raw_fragment = fragment.to_vec();
            }
        }
        Ok(url)
    }

    fn parse_before_fragment(text: &[u8]) -> Result<Self, String> {
        if text.iter().any(|b| *b < b' ' || *b == 0x7f) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let mut url = Self::default();
        if text == b"*" {
            url.path = text.to_vec();
            return Ok(url);
        }
        let (scheme, rest) = scheme(text)?;
        url.scheme = scheme.to_ascii_lowercase();
        let (mut rest, query) = cut(rest, b'?');
        url.force_query = query.is_some_and(<[u8]>::is_empty);
        url.query = query.unwrap_or_default().to_vec();
        if rest.first() != Some(&b'/') {
            if !url.scheme.is_empty() {
                url.opaque = rest.to_vec();
                return Ok(url);
            }
            if cut(rest, b'/').0.contains(&b':') {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
        }
        if (!url.scheme.is_empty() || !rest.starts_with(b"///")) && rest.starts_with(b"//") {
            let authority = rest.get(2..).unwrap_or_default();
            let end = memchr::memchr(b'/', authority).unwrap_or(authority.len());
            let (authority, path) = authority.split_at(end);
            rest = path;
            url.set_authority(authority)?;
        }
        url.set_path(rest)?;
        Ok(url)
    }

    fn set_authority(&mut self, authority: &[u8]) -> Result<(), String> {
        let Some(at) = memchr::memrchr(b'@', authority) else {
            self.host = host(&self.scheme, authority)?;
            return Ok(());
        };
        let (userinfo, rest) = authority.split_at(at);
        self.host = host(&self.scheme, rest.get(1..).unwrap_or_default())?;
        let valid = |b: &u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(b);
        if !userinfo.iter().all(valid) {
            return Err("net/url: invalid userinfo".to_owned());
        }
        let (name, password) = cut(userinfo, b':');
        self.user = Some(User {
            name: unescape(name, Part::User)?,
            password: password.map(|p| unescape(p, Part::User)).transpose()?,
        });
        Ok(())
    }

    fn set_path(&mut self, path: &[u8]) -> Result<(), String> {
        self.path = unescape(path, Part::Path)?;
        self.raw_path = if escape(&self.path, Part::Path) == path {
            Vec::new()
        } else {
            path.to_vec()
        };
        Ok(())
    }

    /// `URL.EscapedPath`
    fn escaped_path(&self) -> Vec<u8> {
        let stays = |b: &u8| b"!'()*[]%".contains(b) || !Part::Path.escapes(*b);
        if !self.raw_path.is_empty() && self.raw_path.iter().all(stays) {
            self.raw_path.clone()
        } else if self.path == b"*" {
            self.path.clone()
        } else {
            escape(&self.path, Part::Path)
        }
    }

    /// `URL.EscapedFragment`
    fn escaped_fragment(&self) -> Vec<u8> {
        let stays = |b: &u8| b"!$&'()*+,;=:@[]%".contains(b) || !Part::Fragment.escapes(*b);
        // The fragment may have been set since.
        let same = || unescape(&self.raw_fragment, Part::Fragment).as_ref() == Ok(&self.fragment);
        if !self.raw_fragment.is_empty() && self.raw_fragment.iter().all(stays) && same() {
            self.raw_fragment.clone()
        } else {
            escape(&self.fragment, Part::Fragment)
        }
    }

    /// `URL.RawPath`
    pub fn raw_path(&self) -> &[u8] {
        &self.raw_path
    }

    /// Joins a name to the path, as `path.Join` does.
    pub fn push(&mut self, name: &[u8]) {
        self.path = path::join(self.path.as_slice(), name);
        if !self.raw_path.is_empty() {
            self.raw_path = path::join(self.raw_path.as_slice(), name);
        }
    }

    /// Removes the slashes at the end of the path.
    pub fn trim_path(&mut self) {
        for path in [&mut self.path, &mut self.raw_path] {
            while path.last() == Some(&b'/') {
                path.pop();
            }
        }
    }

    /// Appends a slash to the path.
    pub fn end_path(&mut self) {
        self.path.push(b'/');
        if !self.raw_path.is_empty() {
            self.raw_path.push(b'/');
        }
    }

    /// `URL.ResolveReference`, with this URL as the base. The opaque part of a base is kept, where Go loses it.
    #[must_use]
    pub fn resolve(&self, reference: &Self) -> Self {
        let mut url = reference.clone();
        if !reference.scheme.is_empty() || !reference.host.is_empty() || reference.user.is_some() {
            if url.scheme.is_empty() {
                url.scheme.clone_from(&self.scheme);
            }
            // The path was parsed before, so this cannot fail.
            let _ = url.set_path(&without_dots(&reference.escaped_path(), b""));
            if reference.scheme.is_empty() {
                url.opaque.clone_from(&self.opaque);
            }
            return url;
        }
        url.scheme.clone_from(&self.scheme);
        let nothing =
            reference.path.is_empty() && !reference.force_query && reference.query.is_empty();
        if nothing {
            url.query.clone_from(&self.query);
            if reference.fragment.is_empty() {
                url.fragment.clone_from(&self.fragment);
                url.raw_fragment.clone_from(&self.raw_fragment);
            }
        }
        if !self.opaque.is_empty() {
            url.opaque.clone_from(&self.opaque);
            return url;
        }
        url.host.clone_from(&self.host);
        url.user.clone_from(&self.user);
        let _ = url.set_path(&without_dots(
            &reference.escaped_path(),
            &self.escaped_path(),
        ));
        url
    }

    /// `URL.Hostname`
    pub fn hostname(&self) -> &[u8] {
        let mut host = self.host.as_slice();
        if let Some(colon) = memchr::memrchr(b':', host)
            && valid_port(host.get(colon..).unwrap_or_default())
        {
            host = host.get(..colon).unwrap_or_default();
        }
        host.strip_prefix(b"[")
            .and_then(|h| h.strip_suffix(b"]"))
            .unwrap_or(host)
    }

    /// `URL.String`
    pub fn text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.scheme.is_empty() {
            out.extend_from_slice(&self.scheme);
            out.push(b':');
        }
        if self.opaque.is_empty() {
            let named = !self.host.is_empty() || self.user.is_some();
            if named || !self.scheme.is_empty() && !self.path.is_empty() {
                out.extend_from_slice(b"//");
            }
            if let Some(user) = &self.user {
                out.extend(user.text());
                out.push(b'@');
            }
            out.extend(escape(&self.host, Part::Host));
            let path = self.escaped_path();
            if !path.is_empty() && !path.starts_with(b"/") && !self.host.is_empty() {
                out.push(b'/');
            }
            if out.is_empty() && cut(&path, b'/').0.contains(&b':') {
                out.extend_from_slice(b"./");
            }
            out.extend(path);
        } else {
            out.extend_from_slice(&self.opaque);
        }
        if self.force_query || !self.query.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&self.query);
        }
        if !self.fragment.is_empty() {
            out.push(b'#');
            out.extend(self.escaped_fragment());
        }
        out
    }
}

fn scheme(text: &[u8]) -> Result<(&[u8], &[u8]), String> {
    for (i, b) in text.iter().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if i > 0 => {}
            b':' if i == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => {
                let (scheme, rest) = text.split_at(i);
                return Ok((scheme, rest.get(1..).unwrap_or_default()));
            }
            _ => break,
        }
    }
    Ok((b"", text))
}

fn valid_port(port: &[u8]) -> bool {
    match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn host(scheme: &[u8], host: &[u8]) -> Result<Vec<u8>, String> {
    let bad_port = |port: &[u8]| format!("invalid port {} after host", strconv::quote(port));
    match memchr::memrchr(b'[', host) {
        Some(0) => {}
        Some(_) => return Err("invalid IP-literal".to_owned()),
        None => {
            let first = memchr::memchr(b':', host);
            let http = matches!(scheme, b"http" | b"https");
            let colon = if http {
                first
            } else {
                memchr::memrchr(b':', host)
            };
            if let Some(port) = colon.and_then(|i| host.get(i..))
                && !valid_port(port)
            {
                return Err(bad_port(port));
            }
            return unescape(host, Part::Host);
        }
    }
    let Some(close) = memchr::memrchr(b']', host) else {
        return Err("missing ']' in host".to_owned());
    };
    let port = host.get(close + 1..).unwrap_or_default();
    if !valid_port(port) {
        return Err(bad_port(port));
    }
    let name = host.get(1..close).unwrap_or_default();
    let zone = memchr::memmem::find(name, b"%25").unwrap_or(name.len());
    let (address, zone) = name.split_at(zone);
    let address = unescape(address, Part::Host)?;
    let zone = unescape(zone, Part::Zone)?;
    let valid = std::str::from_utf8(&address).is_ok_and(|a| a.parse::<Ipv6Addr>().is_ok());
    if !valid {
        let shown = strconv::quote([address, zone].concat());
        return Err(format!(
            "invalid host: ParseAddr({shown}): unable to parse IP"
        ));
    }
    Ok([b"[", address.as_slice(), &zone, b"]", port].concat())
}

/// Prepends the base's folder to a path, and resolves `.` and `..`.
fn without_dots(path: &[u8], base: &[u8]) -> Vec<u8> {
    let full = match path.first() {
        None => base.to_vec(),
        Some(b'/') => path.to_vec(),
        Some(_) => {
            let folder = memchr::memrchr(b'/', base).map_or(0, |slash| slash + 1);
            [base.get(..folder).unwrap_or_default(), path].concat()
        }
    };
    if full.is_empty() {
        return full;
    }
    // The first part has no slash before it, but the result always begins with one.
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut last: &[u8] = b"";
    for part in full.split(|b| *b == b'/') {
        last = part;
        match part {
            b"." if kept.is_empty() => kept.push(b""),
            b"." => {}
            b".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    let mut out = kept.join(&b'/');
    if matches!(last, b"." | b"..") {
        out.push(b'/');
    }
    if !out.starts_with(b"/") {
        out.insert(0, b'/');
    }
    out
}
