//! Shared by the tests: clients of a test's registry.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::time::Duration;

use flux_http::{BasicAuth, Proxy, Secret};
use flux_oci::{Client, Credentials, Error, Options, Repository};
use registries::Registry;

/// The repository that the tests use.
pub(crate) const APP: &str = "org/app";

/// Options with short pauses.
pub(crate) fn options() -> Options {
    Options {
        proxy: Proxy::None,
        pauses: vec![Duration::from_millis(1); 2],
        ..Options::default()
    }
}

pub(crate) fn basic(username: &str, password: &str) -> Credentials {
    Credentials {
        basic: Some(BasicAuth {
            username: username.to_owned(),
            password: Secret::from(password),
        }),
        ..Credentials::default()
    }
}

pub(crate) fn repository(registry: &Registry) -> Repository {
    Repository::parse(&registry.repository(APP)).unwrap()
}

pub(crate) fn client(registry: &Registry) -> Client {
    client_with(registry, options())
}

pub(crate) fn client_with(registry: &Registry, options: Options) -> Client {
    Client::new(repository(registry), options).unwrap()
}

/// The digest that the tag `latest` has.
pub(crate) async fn latest(client: &Client) -> Result<String, Error> {
    let tag = client.repository().tag("latest")?;
    Ok(client.resolve(&tag).await?.to_string())
}

/// The error's text, with the registry's address as `HOST`.
pub(crate) fn text(registry: &Registry, error: &Error) -> String {
    flux_errors::chain(error).replace(&registry.host(), "HOST")
}
