//! The list of a repository's tags.

use std::collections::HashSet;

use flux_http::shown_url;
use reqwest::header::LINK;
use reqwest::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;
use url::{Position, Url};

use crate::client::Client;
use crate::error::Error;
use crate::list::{ListError, Short, elements};
use crate::name::MAX_TAG;
use crate::redirect;

/// The number of tags that a page is asked to have: more make ECR fail.
const PAGE: usize = 1000;
/// The most bytes of a page.
const MAX_PAGE: usize = 16 << 20;
/// The most pages.
const MAX_PAGES: usize = 10_000;
/// The most tags.
const MAX_TAGS: usize = 1_000_000;
/// The bytes of a tag in memory besides its text: its place in a list that grows, and what the allocator adds.
const TAG_BYTES: u64 = 80;
/// The most bytes of the path and query of a page.
const MAX_PATH: usize = 4096;

impl Client {
    /// All tags of the repository, in the registry's order, over all pages (SC-OCI-045). What is too long to be a tag is
    /// left out. Their memory is claimed.
    ///
    /// # Errors
    /// The registry cannot be reached, has no such repository, or its list is too long or has no end.
    pub async fn tags(&self) -> Result<Vec<String>, Error> {
        let list = format!("/v2/{}/tags/list", self.repository().path());
        let mut path = format!("{list}?n={PAGE}");
        let mut seen = HashSet::from([path.clone()]);
        let mut tags: Vec<String> = Vec::new();
        let mut number = 0;
        loop {
            number += 1;
            let mut response = self.request(&Method::GET, &path, None).await?;
            if number == 1 && response.status() == StatusCode::PAYLOAD_TOO_LARGE {
                // Some registries have a smaller limit, and a default below it.
                response = self.request(&Method::GET, &list, None).await?;
            }
            let response = self
                .expect(response, &Method::GET, &[StatusCode::OK])
                .await?;
            let next = self.next_page(&response).await?;
            let url = shown_url(response.url());
            let failed = |reason: String| Error::List {
                url: url.clone(),
                reason,
            };
            let read = self.elements(response, MAX_PAGE, "tags", |tag: Short<MAX_TAG>| {
                let Some(tag) = tag.0 else { return Ok(()) };
                if tags.len() >= MAX_TAGS {
                    return Err(ListError::TooMany);
                }
                self.claim().take(tag.len() as u64 + TAG_BYTES)?;
                tags.push(tag);
                Ok(())
            });
            read.await?
                .map_err(|error| error.at(&url, &format!("more than {MAX_TAGS} tags")))?;
            let Some(next) = next else { return Ok(tags) };
            if number == MAX_PAGES {
                return Err(failed(format!("more than {MAX_PAGES} pages of tags")));
            }
            self.claim().take(next.len() as u64 * 2 + TAG_BYTES)?;
            if !seen.insert(next.clone()) {
                return Err(failed("the list of tags leads back to itself".to_owned()));
            }
            path = next;
        }
    }

    /// Reads a page of at most `limit` bytes, and passes each element of the list in `field` to `each`. The memory of the
    /// page itself is given back.
    pub(crate) async fn elements<T: DeserializeOwned>(
        &self,
        response: Response,
        limit: usize,
        field: &'static str,
        each: impl FnMut(T) -> Result<(), ListError>,
    ) -> Result<Result<(), ListError>, Error> {
        let before = self.claim().held();
        let body = self.body(response, limit).await?;
        let page = self.claim().held().saturating_sub(before);
        let read = elements(&body, field, each);
        drop(body);
        self.claim().give_back(page);
        Ok(read)
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
        let path = &next[Position::BeforePath..Position::AfterQuery];
        if path.len() > MAX_PATH {
            let reason = format!("the link to the next page has more than {MAX_PATH} bytes");
            return Err(failed(&reason));
        }
        Ok(Some(path.to_owned()))
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
