//! The credentials sent to a server, which it may repeat in its messages, and masking them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::auth::AuthOptions;
use crate::error::Fault;
use crate::url::GitUrl;

const MASK: &str = "***";

/// Shorter values are not secrets, and masking them would garble every message.
const SHORTEST: usize = 4;

/// The values that open a repository, as texts, the longest first.
pub(crate) struct Sent(Vec<String>);

impl Sent {
    /// What requests to `url` carry with these credentials.
    pub(crate) fn new(url: &GitUrl, auth: &AuthOptions) -> Self {
        let (password, token) = (auth.password.expose(), auth.bearer_token.expose());
        let mut values = vec![
            String::from_utf8_lossy(password).into_owned(),
            String::from_utf8_lossy(token).into_owned(),
        ];
        if password.is_empty() {
            // Some hosts take a token as the user.
            values.push(auth.username.clone());
        } else {
            let pair = [auth.username.as_bytes(), b":", password].concat();
            values.push(STANDARD.encode(pair));
        }
        let url = url.without_user();
        let query = url.split_once('?').map_or("", |(_, query)| query);
        for parameter in query.split('&') {
            let value = parameter
                .split_once('=')
                .map_or(parameter, |(_, value)| value);
            values.push(value.to_owned());
            values.push(
                percent_encoding::percent_decode_str(value)
                    .decode_utf8_lossy()
                    .into_owned(),
            );
        }
        values.retain(|value| value.len() >= SHORTEST);
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Self(values)
    }

    /// Masks them in a text.
    pub(crate) fn mask(&self, mut text: String) -> String {
        for value in &self.0 {
            if text.contains(value) {
                text = text.replace(value, MASK);
            }
        }
        text
    }

    /// Masks them in what a fault says in the server's words.
    pub(crate) fn hide(&self, fault: Fault) -> Fault {
        match fault {
            Fault::AuthenticationRequired(text) => Fault::AuthenticationRequired(self.mask(text)),
            Fault::AuthorizationFailed(text) => Fault::AuthorizationFailed(self.mask(text)),
            Fault::RepositoryNotFound(text) => Fault::RepositoryNotFound(self.mask(text)),
            Fault::Redirect(text) => Fault::Redirect(self.mask(text)),
            Fault::Remote(text) => Fault::Remote(self.mask(text)),
            Fault::ErrorLine(text) => Fault::ErrorLine(self.mask(text)),
            Fault::Protocol(text) => Fault::Protocol(self.mask(text)),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(url: &str, username: &str, password: &str, token: &str) -> Sent {
        let url = GitUrl::parse(url).unwrap();
        let mut auth = AuthOptions::new(&url, None).unwrap();
        username.clone_into(&mut auth.username);
        auth.password = flux_http::Secret::new(password);
        auth.bearer_token = flux_http::Secret::new(token);
        Sent::new(&url, &auth)
    }

    // SC-GIT-053, SC-GIT-054
    #[test]
    fn sent_credentials_are_masked_in_server_messages() {
        let plain = "https://h/x";
        for (sent, text, want) in [
            (
                sent(plain, "flux", "hunter2", ""),
                "flux:hunter2!",
                "flux:***!",
            ),
            (
                sent(plain, "flux", "hunter2", ""),
                "Basic Zmx1eDpodW50ZXIy",
                "Basic ***",
            ),
            (
                sent(plain, "", "", "hunter2"),
                "Bearer hunter2",
                "Bearer ***",
            ),
            (
                sent(plain, "hunter2", "", ""),
                "who is hunter2?",
                "who is ***?",
            ),
            (
                sent("https://h/x?t=hun%20ter", "", "", ""),
                "hun ter hun%20ter",
                "*** ***",
            ),
            (sent("https://h/x?hunter2", "", "", ""), "hunter2", "***"),
            (sent(plain, "git", "abc", ""), "git abc", "git abc"),
            (sent(plain, "", "", ""), "anything", "anything"),
        ] {
            let Fault::ErrorLine(shown) = sent.hide(Fault::ErrorLine(text.into())) else {
                panic!("another fault");
            };
            assert_eq!(shown, want);
        }
    }
}
