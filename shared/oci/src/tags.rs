//! The list of a repository's tags.

use std::collections::HashSet;

use flux_http::shown_url;
use reqwest::header::LINK;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::client::{Client, place};
use crate::error::Error;
use crate::redirect;

/// The number of tags that a page is asked to have: more make ECR fail.
const PAGE: usize = 1000;
/// The most bytes of a page.
const MAX_PAGE: usize = 16 << 20;
/// The most pages.
const MAX_PAGES: usize = 10_000;
/// The most tags.
const MAX_TAGS: usize = 1_000_000;
/// The bytes of a tag in memory besides its text.
const TAG_BYTES: u64 = 32;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<Option<String>>>,
}

impl Client {
    /// All tags of the repository, in the registry's order, over all pages (SC-OCI-045). Their memory is claimed.
    ///
    /// # Errors
    /// The registry cannot be reached, has no such repository, or its list is too long or has no end.
    pub async fn tags(&self) -> Result<Vec<String>, Error> {
        let list = format!("/v2/{}/tags/list", self.repository().path());
        let mut path = format!("{list}?n={PAGE}");
        let mut seen = HashSet::from([path.clone()]);
        let mut tags: Vec<String> = Vec::new();
        for number in 0..MAX_PAGES {
            let mut response = self.request(&Method::GET, &path, None).await?;
            if number == 0 && response.status() == StatusCode::PAYLOAD_TOO_LARGE {
                // Some registries have a smaller limit, and a default below it.
                response = self.request(&Method::GET, &list, None).await?;
            }
            let response = self
                .expect(response, &Method::GET, &[StatusCode::OK])
                .await?;
            let next = self.next_page(&response).await?;
            let url = shown_url(response.url());
            let before = self.claim().held();
            let body = self.body(response, MAX_PAGE).await?;
            let page: Page = serde_json::from_slice(&body).map_err(|error| Error::Json {
                url: url.clone(),
                reason: place(&error),
            })?;
            drop(body);
            self.claim()
                .give_back(self.claim().held().saturating_sub(before));
            let found = page.tags.unwrap_or_default().into_iter().flatten();
            let known = tags.len();
            tags.extend(found);
            let bytes = tags[known..]
                .iter()
                .map(|tag| tag.len() as u64 + TAG_BYTES)
                .sum();
            self.claim().take(bytes)?;
            if tags.len() > MAX_TAGS {
                let reason = format!("more than {MAX_TAGS} tags");
                return Err(Error::List { url, reason });
            }
            match next {
                None => return Ok(tags),
                Some(next) if !seen.insert(next.clone()) => {
                    let reason = "the list of tags leads back to itself".to_owned();
                    return Err(Error::List { url, reason });
                }
                Some(next) => path = next,
            }
        }
        Err(Error::List {
            url: list,
            reason: format!("more than {MAX_PAGES} pages of tags"),
        })
    }

    /// The path and query of the next page, if there is one. It is on the registry itself: a link to another host gets no
    /// request, and one with another scheme (of a registry behind a proxy that ends TLS) is used with that of the session.
    pub(crate) async fn next_page(&self, response: &Response) -> Result<Option<String>, Error> {
        let links = response.headers().get_all(LINK).iter();
        let links: Vec<_> = links.filter_map(|link| link.to_str().ok()).collect();
        let Some(link) = next_link(&links.join(",")) else {
            return Ok(None);
        };
        let base = self.session().await?.base;
        let failed = |reason: &str| Error::List {
            url: shown_url(response.url()),
            reason: reason.to_owned(),
        };
        let next = response.url().join(&link);
        let next = next.map_err(|_| failed("failed to parse link header"))?;
        let mut with_scheme: Url = next.clone();
        let _ = with_scheme.set_scheme(base.scheme());
        if !redirect::same_server(&base, &with_scheme) {
            return Err(failed("the next page is on another host"));
        }
        let query = next.query().map(|query| format!("?{query}"));
        Ok(Some(format!(
            "{}{}",
            next.path(),
            query.unwrap_or_default()
        )))
    }
}

/// Reads a page of tags, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(crate) fn parse_page(body: &[u8]) {
    if let Ok(page) = serde_json::from_slice::<Page>(body) {
        drop(page.tags);
    }
}

/// The target of the link with `rel=next`, or of one without `rel`, in a `Link` header.
pub(crate) fn next_link(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let end = after.find(",<").or_else(|| after.find(", <"));
        let (parameters, next) = after.split_at(end.unwrap_or(after.len()));
        let mut rel = None;
        for parameter in parameters.split(';') {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("rel")
            {
                rel = Some(value.trim_matches(['"', ' ', '\t', ',']));
            }
        }
        if rel.is_none_or(|rel| rel.eq_ignore_ascii_case("next")) {
            return Some(target.to_owned());
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // SC-OCI-045
    #[rstest]
    #[case(
        "</v2/x/tags/list?last=t&n=100>; rel=\"next\"",
        Some("/v2/x/tags/list?last=t&n=100")
    )]
    #[case(
        "<https://r.io/v2/x?last=t>; rel=next; title=\"a,b\"",
        Some("https://r.io/v2/x?last=t")
    )]
    #[case("</a>; rel=\"first\", </b>; rel=\"next\"", Some("/b"))]
    #[case("</a>", Some("/a"))]
    #[case("</a>; rel=\"last\"", None)]
    #[case("", None)]
    #[case("</a", None)]
    fn the_link_to_the_next_page_is_found(#[case] header: &str, #[case] expected: Option<&str>) {
        assert_eq!(next_link(header).as_deref(), expected);
    }
}
