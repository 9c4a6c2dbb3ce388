//! The list of a repository's tags.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use flux_budget::Exhausted;
use flux_http::shown_url;
use reqwest::header::LINK;
use reqwest::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;
use url::Position;

use crate::client::Client;
use crate::error::Error;
use crate::list::{ListError, Short, elements};
use crate::name::MAX_TAG;

/// The numbers of tags that a page is asked to have, one after the other where the registry refuses the one before: more
/// than the first make ECR fail, and some registries allow fewer (FR-N-057). The last is up to the registry.
const PAGES: [Option<usize>; 3] = [Some(1000), Some(100), None];
/// The answers by which a registry refuses the size of a page.
const REFUSALS: [StatusCode; 2] = [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE];
/// The most registries whose size of pages is remembered.
const MAX_REGISTRIES: usize = 1024;
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

/// Which registries refused pages of the usual size, so that they are not asked for them again. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct PageSizes(Arc<Mutex<HashMap<String, usize>>>);

impl PageSizes {
    /// Where in [`PAGES`] to begin.
    fn first(&self, registry: &str) -> usize {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(registry).copied().unwrap_or_default()
    }

    fn remember(&self, registry: &str, at: usize) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MAX_REGISTRIES {
            known.insert(registry.to_owned(), at);
        }
    }
}

impl Client {
    /// All tags of the repository, in the registry's order, over all pages (SC-OCI-045). What is too long to be a tag is
    /// left out. Their memory is claimed.
    ///
    /// # Errors
    /// As [`Client::each_tag`].
    pub async fn tags(&self) -> Result<Vec<String>, Error> {
        let mut tags = Vec::new();
        let keep = |tag: String| {
            self.claim().take(tag.len() as u64 + TAG_BYTES)?;
            tags.push(tag);
            Ok(())
        };
        self.each_tag(keep).await?;
        Ok(tags)
    }

    /// Passes each tag of the repository to `each`, as [`Client::tags`] lists them, for callers that keep them in a form of
    /// their own and claim the memory for it.
    ///
    /// # Errors
    /// The registry cannot be reached, has no such repository, or its list is too long or has no end; or that of `each`,
    /// which ends the list.
    pub async fn each_tag(
        &self,
        mut each: impl FnMut(String) -> Result<(), Exhausted> + Send,
    ) -> Result<(), Error> {
        let (mut response, mut path) = self.first_page().await?;
        let mut seen = HashSet::from([path.clone()]);
        let (mut number, mut count) = (1, 0);
        loop {
            let next = self.next_page(&response).await?;
            let url = shown_url(response.url());
            let failed = |reason: String| Error::List {
                url: url.clone(),
                reason,
            };
            let read = self.elements(response, MAX_PAGE, "tags", |tag: Short<MAX_TAG>| {
                let Some(tag) = tag.0 else { return Ok(()) };
                if count >= MAX_TAGS {
                    return Err(ListError::TooMany);
                }
                count += 1;
                Ok(each(tag)?)
            });
            read.await?
                .map_err(|error| error.at(&url, &format!("more than {MAX_TAGS} tags")))?;
            let Some(next) = next else { return Ok(()) };
            if number == MAX_PAGES {
                return Err(failed(format!("more than {MAX_PAGES} pages of tags")));
            }
            self.claim().take(next.len() as u64 * 2 + TAG_BYTES)?;
            if !seen.insert(next.clone()) {
                return Err(failed("the list of tags leads back to itself".to_owned()));
            }
            path = next;
            number += 1;
            let page = self.request(&Method::GET, &path, None).await?;
            response = self.expect(page, &Method::GET, &[StatusCode::OK]).await?;
        }
    }

    /// The first page of the tags, and its path: of the largest size that the registry allows. If it refuses all of them, the
    /// error is that of the first.
    async fn first_page(&self) -> Result<(Response, String), Error> {
        let list = format!("/v2/{}/tags/list", self.repository().path());
        let registry = self.repository().registry();
        let first = self.page_sizes().first(registry);
        let mut refused = None;
        for (at, size) in PAGES.iter().enumerate().skip(first) {
            let path = match size {
                Some(size) => format!("{list}?n={size}"),
                None => list.clone(),
            };
            let page = self.request(&Method::GET, &path, None).await?;
            let may_differ = REFUSALS.contains(&page.status());
            match self.expect(page, &Method::GET, &[StatusCode::OK]).await {
                Ok(page) => {
                    if at != first {
                        self.page_sizes().remember(registry, at);
                    }
                    return Ok((page, path));
                }
                Err(error) if may_differ => {
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(refused.unwrap_or(error)),
            }
        }
        Err(refused.unwrap_or(Error::DeadlineExceeded))
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
    /// request, and one with another scheme or port (of a registry behind a proxy) is used with those of the session
    /// (FR-N-058).
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
        if base.host() != next.host() {
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
    let _ = elements(body, "tags", |_: Short<MAX_TAG>| Ok(()));
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
