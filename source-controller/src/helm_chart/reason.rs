//! The reasons of conditions and events of a HelmChart.

flux_runtime::reasons! {
    /// Why a condition of a HelmChart has its status, or what an event of it is about (SC-PROC-062, SC-HCHART-083).
    pub(super) enum ChartReason {
        /// The lock of the artifact could not be taken.
        AcquireLockFailed,
        /// The chart could not be stored.
        ArchiveOperationFailed,
        /// Credentials are missing, unusable or not accepted.
        AuthenticationFailed,
        /// The cache of indexes has no room.
        CacheOperationFailed,
        /// The chart could not be loaded or packed.
        ChartPackageError,
        /// A chart was packed.
        ChartPackageSucceeded,
        /// The chart could not be pulled.
        ChartPullError,
        /// A chart was pulled as it is.
        ChartPullSucceeded,
        /// A signature is missing or not valid.
        ChartVerificationError,
        /// Dependencies are missing.
        DependencyBuildError,
        /// A folder could not be created.
        DirectoryCreationFailed,
        /// The source could not be unpacked, or the storage, or a task of this process, failed.
        Failed,
        /// Artifacts of the deleted object could not be removed.
        GarbageCollectionFailed,
        /// There is no such chart.
        InvalidChartReference,
        /// The version cannot have build metadata.
        MetadataPatchError,
        /// There is another chart than in the artifact.
        NewChart,
        /// The source has no artifact.
        NoSourceArtifact,
        /// The artifact of the source could not be opened.
        ReadOperationFailed,
        /// Dependencies were added.
        ResolvedDependencies,
        /// The source could not be read.
        SourceUnavailable,
        /// The URL of the repository cannot be used.
        URLInvalid,
        /// A failure that is not about the build itself.
        Unknown,
        /// The kind of the source has no charts.
        UnsupportedSourceKind,
        /// Values files are missing or invalid.
        ValuesFilesError,
        /// The material of the verification is missing or invalid, or the verification failed.
        VerificationError,
    }
}
