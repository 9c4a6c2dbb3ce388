//! Actions: which step of a reconcile an event comes from.

/// The step that emits an event, as one word of a closed set (RT-EVT-021). The notification-controller passes it on; the
/// Event in Kubernetes does not have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// The reconcile as a whole.
    #[default]
    Reconcile,
    /// Whether what the object depends on is ready.
    CheckDependencies,
    /// Finding the source.
    ResolveSource,
    /// Comparing the artifact store with the status.
    ReconcileStorage,
    /// Reading the upstream source.
    ReconcileSource,
    /// Downloading the sources.
    FetchSource,
    /// Composing artifacts of the sources.
    Build,
    /// Storing an artifact, and applying the object that has it.
    Publish,
    /// Verifying the source's signature.
    VerifySource,
    /// Packing and storing the artifact.
    ReconcileArtifact,
    /// Removing outdated artifacts.
    GarbageCollect,
    /// Decrypting the files of the source.
    Decrypt,
    /// Applying objects.
    Apply,
    /// Deleting objects that are no longer part of the source.
    Prune,
    /// Waiting for objects to become ready.
    HealthCheck,
    /// Cleaning up for a deleted object.
    Finalize,
    /// Waiting until deleted objects are gone.
    WaitForTermination,
    /// Reading which images the policies selected.
    ListPolicies,
    /// Reading the source to write to, and the credentials for it.
    ConfigureSource,
    /// Writing the images into files.
    ApplyPolicies,
    /// Committing the files and pushing the commit.
    CommitAndPush,
    /// Reading the tags of an image.
    Scan,
    /// Selecting the latest tag of an image.
    SelectImage,
}

impl Action {
    /// The word, as used in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reconcile => "Reconcile",
            Self::CheckDependencies => "CheckDependencies",
            Self::ResolveSource => "ResolveSource",
            Self::ReconcileStorage => "ReconcileStorage",
            Self::ReconcileSource => "ReconcileSource",
            Self::FetchSource => "FetchSource",
            Self::Build => "Build",
            Self::Publish => "Publish",
            Self::VerifySource => "VerifySource",
            Self::ReconcileArtifact => "ReconcileArtifact",
            Self::GarbageCollect => "GarbageCollect",
            Self::Decrypt => "Decrypt",
            Self::Apply => "Apply",
            Self::Prune => "Prune",
            Self::HealthCheck => "HealthCheck",
            Self::Finalize => "Finalize",
            Self::WaitForTermination => "WaitForTermination",
            Self::ListPolicies => "ListPolicies",
            Self::ConfigureSource => "ConfigureSource",
            Self::ApplyPolicies => "ApplyPolicies",
            Self::CommitAndPush => "CommitAndPush",
            Self::Scan => "Scan",
            Self::SelectImage => "SelectImage",
        }
    }
}
