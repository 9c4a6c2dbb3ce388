//! The reasons of conditions and events of a GitRepository.

flux_runtime::reasons! {
    /// Why a condition of a GitRepository has its status, or what an event of it is about, besides those that all sources
    /// share (SC-PROC-062).
    pub(super) enum GitReason {
        /// The archive could not be stored.
        ArchiveOperationFailed,
        /// Credentials are missing or unusable.
        AuthenticationFailed,
        /// An included artifact could not be copied.
        CopyFailure,
        /// A folder could not be created.
        DirectoryCreationFailed,
        /// The repository has no commit.
        EmptyGitRepository,
        /// The storage, or a task of this process, failed.
        Failed,
        /// Artifacts of the deleted object could not be removed.
        GarbageCollectionFailed,
        /// The repository could not be read.
        GitOperationFailed,
        /// The repository was read and has not changed.
        GitOperationSucceeded,
        /// The path of an include cannot be used.
        IllegalPath,
        /// The included artifacts have changed.
        IncludeChange,
        /// The signature of the commit is not valid.
        InvalidCommitSignature,
        /// The tag has no signature.
        InvalidGitObject,
        /// The provider does not match the credentials.
        InvalidProviderConfiguration,
        /// The signature of the tag is not valid.
        InvalidTagSignature,
        /// The verification mode needs a tag.
        InvalidVerificationMode,
        /// The GitRepository to include has no artifact.
        NoArtifact,
        /// The GitRepository to include does not exist.
        NotFound,
        /// The ignore rules of the repository could not be read.
        SourceIgnoreError,
        /// The URL cannot be used.
        URLInvalid,
        /// The keys for the verification could not be read.
        VerificationError,
    }
}
