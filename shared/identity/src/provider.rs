//! The providers of credentials.

/// Where credentials come from (RT-WID-004).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Cloud.
    Gcp,
    /// The cluster itself: the token of a ServiceAccount is the credential.
    Generic,
}

impl Provider {
    /// The name in specs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::Generic => "generic",
        }
    }
}
