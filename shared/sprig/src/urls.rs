//! Functions of URLs.

use flux_golang::url::Url;
use flux_gotemplate::{CallError, Functions, Map, Str, Value};

pub(super) fn register(f: &mut Functions) {
    f.add("urlParse", |text: Str| {
        let url =
            Url::parse(&text).map_err(|e| CallError::new(format!("unable to parse url: {e}")))?;
        Ok::<_, CallError>(dict(url))
    });
    f.add("urlJoin", |d: Map| join(&d));
}

fn dict(url: Url) -> Map {
    let hostname = url.hostname().to_vec();
    let userinfo = url.user.map(|u| u.text()).unwrap_or_default();
    [
        ("scheme", url.scheme),
        ("host", url.host),
        ("hostname", hostname),
        ("path", url.path),
        ("query", url.query),
        ("opaque", url.opaque),
        ("fragment", url.fragment),
        ("userinfo", userinfo),
    ]
    .into_iter()
    .map(|(k, v)| (k, Value::Str(v.into())))
    .collect()
}

fn join(d: &Map) -> Result<Str, CallError> {
    let get = |key: &str| -> Result<Vec<u8>, CallError> {
        match d.get(key.as_bytes()) {
            None => Ok(Vec::new()),
            Some(Value::Str(s)) => Ok(s.to_vec()),
            Some(Value::Nil) => {
                Err("runtime error: invalid memory address or nil pointer dereference".into())
            }
            Some(other) => {
                let kind = other.kind().map_or("invalid", flux_gotemplate::Kind::name);
                Err(
                    format!("unable to parse {key} key, must be of type string, but {kind} found")
                        .into(),
                )
            }
        }
    };
    let mut url = Url::default();
    url.scheme = get("scheme")?;
    url.host = get("host")?;
    url.path = get("path")?;
    url.query = get("query")?;
    url.opaque = get("opaque")?;
    url.fragment = get("fragment")?;
    let userinfo = get("userinfo")?;
    if !userinfo.is_empty() {
        let probe = [b"proto://", userinfo.as_slice(), b"@host"].concat();
        let parsed = Url::parse(&probe)
            .map_err(|e| CallError::new(format!("unable to parse userinfo in dict: {e}")))?;
        url.user = parsed.user;
    }
    Ok(url.text().into())
}
