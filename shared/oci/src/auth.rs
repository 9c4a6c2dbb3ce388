//! How a registry wants its clients to sign in, and its token service.

use flux_http::{Repeat, Secret, read_body};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::client::Client;
use crate::error::Error;
use crate::redirect;
use crate::transport::{Hop, header_value};

/// The most bytes of a token service's response.
const MAX_TOKEN: usize = 64 * 1024;
/// The most scopes of one token.
const MAX_SCOPES: usize = 16;
/// The most bytes of a challenge.
const MAX_CHALLENGE: usize = 8 * 1024;

/// A `WWW-Authenticate` header: its scheme in lower case, and its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    fn parse(text: &str) -> Self {
        let text = text.trim();
        let (scheme, mut rest) = text
            .split_once(char::is_whitespace)
            .map_or((text, ""), |(scheme, rest)| (scheme, rest.trim()));
        let mut parameters = Vec::new();
        while let Some((name, after)) = rest.split_once('=') {
            let name = name.trim_matches([' ', '\t', ',']).to_ascii_lowercase();
            let after = after.trim_start();
            let (value, next) = if let Some(quoted) = after.strip_prefix('"') {
                unquoted(quoted)
            } else {
                let end = after.find([',', ' ', '\t']).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            };
            parameters.push((name, value));
            rest = next;
        }
        Self {
            scheme: scheme.to_ascii_lowercase(),
            parameters,
        }
    }

    /// The challenge that can be answered, else the first of a response, if it has any.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .filter(|text| text.len() <= MAX_CHALLENGE)
            .map(Self::parse);
        let first = all.next()?;
        if first.is_known() {
            return Some(first);
        }
        Some(all.find(Self::is_known).unwrap_or(first))
    }

    fn is_known(&self) -> bool {
        matches!(self.scheme.as_str(), "basic" | "bearer")
    }

    fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(own, _)| own == name);
        found.next().map(|(_, value)| value.as_str())
    }
}

/// The content of a quoted string whose first quote was read, and what comes after it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

/// A registry that wants tokens of a token service.
#[derive(Clone, Debug)]
pub(crate) struct Bearer {
    realm: Url,
    service: String,
    scopes: Vec<String>,
    /// The last token.
    pub(crate) token: Option<Secret>,
    /// The token before it, which a server may still repeat.
    former: Option<Secret>,
    /// A refresh token, which takes the place of the credentials.
    refresh: Option<Secret>,
}

#[derive(Deserialize)]
struct TokenResponse {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
}

impl Bearer {
    /// The token service that a challenge of the registry at `base` names, for a token with `scope`.
    pub(crate) fn new(challenge: &Challenge, base: &Url, scope: String) -> Result<Self, Error> {
        let realm = challenge.get("realm").ok_or_else(|| {
            Error::Challenge("malformed www-authenticate, missing realm".to_owned())
        })?;
        let invalid = |reason: String| {
            Error::Challenge(format!("invalid realm in www-authenticate: {reason}"))
        };
        let realm =
            Url::parse(realm).map_err(|error| invalid(format!("parsing realm: {error}")))?;
        if let Some(reason) = refused_realm(base, &realm) {
            return Err(invalid(reason));
        }
        Ok(Self {
            realm,
            service: challenge.get("service").unwrap_or_default().to_owned(),
            scopes: vec![scope],
            token: None,
            former: None,
            refresh: None,
        })
    }

    /// What a server may repeat and no message may show.
    pub(crate) fn texts(&self) -> Vec<String> {
        let secrets = [&self.token, &self.former, &self.refresh];
        let texts = secrets.into_iter().flatten();
        texts
            .map(|secret| secret.expose_text().into_owned())
            .collect()
    }

    /// Adds the scopes that a rejected request was told it lacks. Some token services look at the first scope only.
    pub(crate) fn add_scopes(&mut self, challenge: Option<&Challenge>) {
        let Some(scope) = challenge.and_then(|challenge| challenge.get("scope")) else {
            return;
        };
        let is_new = !self.scopes.iter().any(|known| known == scope);
        if is_new && self.scopes.len() < MAX_SCOPES {
            self.scopes.insert(0, scope.to_owned());
        }
    }

    /// Gets a token from the token service: with a refresh token by OAuth 2, where the service knows that, else with user
    /// and password, or without.
    pub(crate) async fn renew(&mut self, client: &Client, base: &Url) -> Result<(), Error> {
        let credentials = client.credentials();
        if let Some(token) = &credentials.registry_token {
            self.token = Some(token.clone());
            return Ok(());
        }
        let identity = self.refresh.clone().or(credentials.identity_token.clone());
        let response = match identity {
            None => self.exchange(client, base, None).await?,
            Some(identity) => match self.exchange(client, base, Some(&identity)).await {
                Err(error) if error.is_not_found() => self.exchange(client, base, None).await?,
                other => other?,
            },
        };
        let text = |value: Option<String>| value.filter(|text| !text.is_empty());
        let token = text(response.access_token).or(text(response.token));
        let token = Secret::new(token.ok_or(Error::NoToken)?);
        self.former = self.token.replace(token);
        if let Some(refresh) = text(response.refresh_token) {
            self.refresh = Some(Secret::new(refresh));
        }
        Ok(())
    }

    async fn exchange(
        &self,
        client: &Client,
        base: &Url,
        identity: Option<&Secret>,
    ) -> Result<TokenResponse, Error> {
        let (method, url, form) = match identity {
            None => (Method::GET, self.url(), None),
            Some(identity) => {
                let token = identity.expose_text();
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.append_pair("client_id", "flux")
                    .append_pair("grant_type", "refresh_token")
                    .append_pair("refresh_token", &token)
                    .append_pair("scope", &self.scopes.join(" "));
                if !self.service.is_empty() {
                    form.append_pair("service", &self.service);
                }
                (Method::POST, self.realm.clone(), Some(form.finish()))
            }
        };
        let basic = match identity {
            None => client.credentials().basic_header(),
            Some(_) => None,
        };
        let basic = basic.as_ref().map(header_value).transpose()?;
        let hop = Hop {
            method: &method,
            headers: HeaderMap::new(),
            form: form.as_deref(),
            repeat: Repeat::Idempotent,
        };
        let authorize = |to: &Url, headers: &mut HeaderMap| {
            if let Some(basic) = &basic
                && redirect::same_server(&self.realm, to)
            {
                headers.insert(AUTHORIZATION, HeaderValue::clone(basic));
            }
        };
        let check = |_: &Url, to: &Url| refused_realm(base, to);
        let response = client.send(&hop, &url, &authorize, &check).await?;
        let response = client
            .expect_early(response, &method, &[StatusCode::OK], self.texts())
            .await?;
        let shown = flux_http::shown_url(response.url());
        let body = read_body(response, MAX_TOKEN).await;
        let body = body.map_err(|source| Error::Body {
            method: if identity.is_some() { "POST" } else { "GET" },
            url: shown,
            source,
        })?;
        // What the service answers with is a secret: no part of it is shown.
        serde_json::from_slice(&body).map_err(|_| Error::NoToken)
    }

    /// The URL of a request for a token, with its parameters sorted as Go does.
    fn url(&self) -> Url {
        let mut url = self.realm.clone();
        let mut pairs: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| name != "scope" && (name != "service" || self.service.is_empty()))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let scopes = self.scopes.iter();
        pairs.extend(scopes.map(|scope| ("scope".to_owned(), scope.clone())));
        if !self.service.is_empty() {
            pairs.push(("service".to_owned(), self.service.clone()));
        }
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        url.query_pairs_mut().clear().extend_pairs(pairs);
        url
    }
}

/// Why tokens may not be fetched at `realm` for the registry at `base`: credentials stay encrypted where the registry's
/// connection is, and the metadata service of a cloud is out of reach. Private addresses are allowed (SC-OCI-087).
fn refused_realm(base: &Url, realm: &Url) -> Option<String> {
    match realm.scheme() {
        "https" => {}
        "http" if base.scheme() == "http" => {}
        "http" => {
            return Some(
                "realm scheme \"http\" not allowed for a secure registry; use https".to_owned(),
            );
        }
        other => {
            return Some(format!(
                "realm scheme {other:?} not allowed; must be https (or http for insecure registries)"
            ));
        }
    }
    if base.host() == realm.host() {
        return None;
    }
    let forbidden = redirect::address(realm).is_some_and(flux_http::is_link_local);
    forbidden.then(|| {
        format!(
            "realm host {:?} is a link-local address",
            realm.host_str().unwrap_or_default()
        )
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        headers
    }

    // SC-OCI-050
    #[rstest]
    #[case(
        r#"Bearer realm="https://auth.io/token",service="r.io",scope="repository:x:pull,push""#,
        "bearer",
        "repository:x:pull,push"
    )]
    #[case(r#"BEARER scope="a\"b" , realm=x"#, "bearer", "a\"b")]
    #[case("Bearer scope=plain, realm=x", "bearer", "plain")]
    #[case("Basic", "basic", "")]
    #[case(r#"Bearer scope="open"#, "bearer", "open")]
    fn schemes_and_parameters_of_challenges_are_parsed(
        #[case] header: &str,
        #[case] scheme: &str,
        #[case] scope: &str,
    ) {
        let challenge = Challenge::of(&headers(&[header])).unwrap();
        assert_eq!(challenge.scheme, scheme);
        assert_eq!(challenge.get("scope").unwrap_or_default(), scope);
    }

    #[test]
    fn a_known_challenge_is_preferred() {
        let several = headers(&["Negotiate", "Basic realm=\"x\""]);
        assert_eq!(Challenge::of(&several).unwrap().scheme, "basic");
        assert_eq!(
            Challenge::of(&headers(&["Negotiate"])).unwrap().scheme,
            "negotiate"
        );
        assert_eq!(Challenge::of(&headers(&[])), None);
    }

    // SC-OCI-087: token services on private addresses are contacted, the metadata service is not
    #[rstest]
    #[case("https://r.io/", "https://auth.io/token", true)]
    #[case("https://r.io/", "https://10.1.2.3/token", true)]
    #[case("https://r.io/", "https://127.0.0.1:8443/token", true)]
    #[case("https://r.io/", "http://auth.io/token", false)]
    #[case("http://r.io/", "http://auth.io/token", true)]
    #[case("http://r.io/", "https://auth.io/token", true)]
    #[case("https://r.io/", "https://169.254.169.254/token", false)]
    #[case("https://r.io/", "file:///etc/passwd", false)]
    fn insecure_and_link_local_realms_are_refused(
        #[case] base: &str,
        #[case] realm: &str,
        #[case] allowed: bool,
    ) {
        let challenge = Challenge::parse(&format!("Bearer realm=\"{realm}\""));
        let bearer = Bearer::new(&challenge, &Url::parse(base).unwrap(), String::new());
        assert_eq!(bearer.is_ok(), allowed, "{bearer:?}");
    }

    #[test]
    fn the_request_for_a_token() {
        let challenge =
            Challenge::parse(r#"Bearer realm="https://auth.io/token?account=x",service="r.io""#);
        let base = Url::parse("https://r.io/").unwrap();
        let mut bearer = Bearer::new(&challenge, &base, "repository:x:pull".to_owned()).unwrap();
        bearer.add_scopes(Some(&Challenge::parse(
            "Bearer scope=\"repository:y:pull\"",
        )));
        bearer.add_scopes(Some(&Challenge::parse(
            "Bearer scope=\"repository:y:pull\"",
        )));
        assert_eq!(
            bearer.url().as_str(),
            "https://auth.io/token?account=x&scope=repository%3Ay%3Apull&scope=repository%3Ax%3Apull&service=r.io"
        );
        let missing = Bearer::new(&Challenge::parse("Bearer"), &base, String::new());
        assert_eq!(
            missing.unwrap_err().to_string(),
            "malformed www-authenticate, missing realm"
        );
    }
}
