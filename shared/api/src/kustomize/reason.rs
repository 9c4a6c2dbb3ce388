//! The reasons of a Kustomization's conditions and events.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// Why a condition of a Kustomization is as it is, and what an event about one is about: a closed set (KC-PROC-070).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)+
        }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The text in conditions and events.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

reasons! {
    /// A reference to another namespace, or to an ExternalArtifact, that is not allowed.
    AccessDenied = "AccessDenied",
    /// The source has no artifact, or it could not be fetched.
    ArtifactFailed = "ArtifactFailed",
    /// The manifests could not be built.
    BuildFailed = "BuildFailed",
    /// A dependency is not ready.
    DependencyNotReady = "DependencyNotReady",
    /// A work folder could not be created. Only upstream's controller sets it; its objects may still have it.
    DirectoryCreationFailed = "DirectoryCreationFailed",
    /// A field that needs a feature gate.
    FeatureGateDisabled = "FeatureGateDisabled",
    /// A newer trigger ended the health checks.
    HealthCheckCanceled = "HealthCheckCanceled",
    /// What was applied did not become healthy.
    HealthCheckFailed = "HealthCheckFailed",
    /// An expression cannot be compiled.
    InvalidCelExpression = "InvalidCELExpression",
    /// Work is under way.
    Progressing = "Progressing",
    /// Stale objects could not be deleted.
    PruneFailed = "PruneFailed",
    /// The objects could not be applied.
    ReconciliationFailed = "ReconciliationFailed",
    /// Everything is applied, and healthy where that was asked for.
    ReconciliationSucceeded = "ReconciliationSucceeded",
    /// The health checks passed.
    Succeeded = "Succeeded",
}

impl Reason {
    /// The reason with this text, if it is one of the set.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Reason> for &'static str {
    fn from(reason: Reason) -> Self {
        reason.as_str()
    }
}
