//! Removes secrets from texts that the log and Kubernetes show.

/// What a secret is replaced by.
const STARS: &str = "*****";

/// The secrets of one Provider. There is no `Debug`.
#[derive(Clone, Default)]
pub(crate) struct Mask {
    token: String,
    others: Vec<String>,
}

impl Mask {
    /// A mask of the token, and of other secrets: passwords, addresses from a Secret, and what stands in them.
    pub(crate) fn new(token: &str, others: impl IntoIterator<Item = String>) -> Self {
        let mut others: Vec<String> = others
            .into_iter()
            .map(|other| other.trim().to_owned())
            .filter(|other| other.len() > 3)
            .collect();
        // The longest first, so that no part of it is left.
        others.sort_by_key(|other| std::cmp::Reverse(other.len()));
        Self {
            token: token.trim().to_owned(),
            others,
        }
    }

    /// The text with stars for the secrets (NC-EVT-054, NC-EVT-055).
    pub(crate) fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for other in &self.others {
            text = text.replace(other, STARS);
        }
        self.without_token(&text)
    }

    /// As upstream's expression, in which the last character of the token may be missing or repeated.
    fn without_token(&self, text: &str) -> String {
        let Some(last) = self.token.chars().next_back() else {
            return text.to_owned();
        };
        let stem = &self.token[..self.token.len() - last.len_utf8()];
        if stem.is_empty() {
            // One character is no secret, and its removal would leave no text.
            return text.replace(&self.token, STARS);
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(stem) {
            out.push_str(&rest[..at]);
            out.push_str(STARS);
            rest = rest[at + stem.len()..].trim_start_matches(last);
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_masked_wherever_they_are() {
        // NC-EVT-054
        let mask = Mask::new(" tok3n\n", []);
        assert_eq!(
            mask.apply("Post \"https://api/bottok3n/x\": tok3nnn tok3"),
            "Post \"https://api/bot*****/x\": ***** *****"
        );
        assert_eq!(Mask::new("", []).apply("nothing"), "nothing");
        assert_eq!(Mask::new("x", []).apply("axb"), "a*****b");
    }

    #[test]
    fn addresses_and_passwords_are_masked() {
        // NC-EVT-055
        let secrets = [
            "https://h/services/T/B".to_owned(),
            "/services/T/B".to_owned(),
        ];
        let mask = Mask::new("", secrets);
        assert_eq!(
            mask.apply("invalid URL https://h/services/T/B, h/services/T/B"),
            "invalid URL *****, h*****"
        );
    }
}
