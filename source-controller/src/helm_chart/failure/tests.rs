//! Tests of the conditions, events and retries of each failure.

use flux_chart::with_build_metadata;
use flux_http::SecretError;
use flux_runtime::outcome::Notice;

use super::*;
use crate::secrets::SecretReadError;

fn io() -> io::Error {
    io::Error::other("no space")
}

fn storage() -> StorageError {
    StorageError::NotADirectory("/data".into())
}

const STALLED: Next = Next::Stalled {
    generation_observed: true,
};
const BACK_OFF: Next = Next::Retry(Pace::BackOff);

/// The error for `bytes` if another reconcile holds a budget of one byte.
fn exhausted(bytes: u64) -> Exhausted {
    let budget = flux_budget::Budget::new(1);
    let other = budget.claim();
    other.take(1).unwrap();
    budget.claim().take(bytes).unwrap_err()
}

fn pulled(source: DownloadFault) -> StepError {
    PullError::Download(source).into()
}

fn status(code: &str) -> DownloadError {
    DownloadError::Status {
        url: "https://a.example/web.tgz".to_owned(),
        status: code.to_owned(),
    }
}

fn of_registry(error: flux_oci::Error) -> DownloadFault {
    DownloadFault::Oci(OciPullError::Registry {
        reference: "oci://a.io/web:1.0.0".to_owned(),
        source: RegistryFault::Registry(error),
    })
}

fn invalid() -> LoadError {
    LoadError::Invalid("chart.metadata.name is required".to_owned())
}

/// A failure: reason, retry, condition, and message.
type Row = (StepError, &'static str, Next, &'static str, &'static str);

/// The errors of a build, which set `BuildFailed` or `FetchFailed`.
fn builds() -> Vec<Row> {
    let (fetch, build) = ("FetchFailed", "BuildFailed");
    vec![
        // SC-HCHART-020
        (
            ReferenceError::Name("A".to_owned()).into(),
            "InvalidChartReference",
            STALLED,
            fetch,
            "invalid chart reference: invalid chart name 'A': a valid name must be lower case letters and numbers and MAY be separated with dashes (-), slashes (/) or periods (.)",
        ),
        (
            ReferenceError::NoName.into(),
            "InvalidChartReference",
            STALLED,
            fetch,
            "invalid chart reference: no name set for remote chart reference",
        ),
        // SC-HCHART-041
        (
            ReferenceError::Absolute.into(),
            "InvalidChartReference",
            STALLED,
            fetch,
            "invalid chart reference: local chart reference path is expected to be relative",
        ),
        (
            ReferenceError::NoPath.into(),
            "InvalidChartReference",
            STALLED,
            fetch,
            "invalid chart reference: no path set for local chart reference",
        ),
        (
            ReferenceError::Metadata(MetadataError::NotFound("/web".to_owned()).into()).into(),
            "InvalidChartReference",
            STALLED,
            fetch,
            "invalid chart reference: stat /web: no such file or directory",
        ),
        (
            ReferenceError::Invalid(invalid()).into(),
            "InvalidChartReference",
            STALLED,
            fetch,
            "invalid chart reference: validation: chart.metadata.name is required",
        ),
        // SC-HCHART-023
        (
            FindError::Reference(LookupError::NoChart).into(),
            "InvalidChartReference",
            STALLED,
            fetch,
            "invalid chart reference: failed to get chart version for remote reference: no chart name found",
        ),
        (
            FindError::External(ExternalError::Index(indexes::LoadError::Task)).into(),
            "ChartPullError",
            BACK_OFF,
            fetch,
            "chart pull error: failed to get chart version for remote reference: failed to load index: failed to load index: a task of the reconcile ended early",
        ),
        // SC-HCHART-024
        (
            FindError::External(VersionError::NoMatch(">=2".to_owned()).into()).into(),
            "ChartPullError",
            BACK_OFF,
            fetch,
            "chart pull error: failed to get chart version for remote reference: could not locate a version matching provided version string >=2",
        ),
        // SC-HCHART-026
        (
            pulled(DownloadFault::NoUrl("web".to_owned())),
            "ChartPullError",
            BACK_OFF,
            fetch,
            "chart pull error: failed to download chart for remote reference: chart 'web' has no downloadable URLs",
        ),
        // SC-HCHART-027
        (
            pulled(DownloadFault::Http(status("404 Not Found"))),
            "ChartPullError",
            BACK_OFF,
            fetch,
            "chart pull error: failed to download chart for remote reference: failed to fetch https://a.example/web.tgz : 404 Not Found",
        ),
        (
            pulled(of_registry(flux_oci::Error::NoToken)),
            "ChartPullError",
            BACK_OFF,
            fetch,
            "chart pull error: failed to download chart for remote reference: failed to get 'oci://a.io/web:1.0.0': no token in bearer response",
        ),
        // SC-HCHART-091
        (
            PullError::Metadata(MetadataFault::TooLarge {
                name: "web-1.0.0.tgz".to_owned(),
                limit: 10,
            })
            .into(),
            "ChartPullError",
            BACK_OFF,
            fetch,
            "chart pull error: failed to load chart metadata from written chart: size of chart 'web-1.0.0.tgz' exceeds '10' bytes limit",
        ),
        (
            PullError::Invalid(invalid()).into(),
            "ChartPullError",
            BACK_OFF,
            fetch,
            "chart pull error: failed to validate metadata of written chart: validation: chart.metadata.name is required",
        ),
        // SC-HCHART-044
        (
            BuildMetadataError::Metadata(match with_build_metadata("1.0.0", "_").unwrap_err() {
                BuildMetadataError::Metadata(error) | BuildMetadataError::Version(error) => error,
            })
            .into(),
            "MetadataPatchError",
            STALLED,
            build,
            "chart metadata patch error: failed to set SemVer metadata on chart version: invalid metadata string",
        ),
        // SC-HCHART-047, SC-HCHART-072
        (
            ValuesError::OfChart(ValuesFileError::Missing("a.yaml".to_owned())).into(),
            "ValuesFilesError",
            STALLED,
            build,
            "values files merge error: failed to merge chart values: no values file found at path 'a.yaml'",
        ),
        (
            ValuesError::Files(ValuesFileError::NoDefaults).into(),
            "ValuesFilesError",
            STALLED,
            build,
            "values files merge error: failed to locate values file: values.yaml",
        ),
        // SC-HCHART-062, SC-HCHART-068
        (
            DependencyError::Remote {
                name: "sub".to_owned(),
                source: RepositoryUrlError::Alias("@stable/".to_owned()).into(),
            }
            .into(),
            "DependencyBuildError",
            BACK_OFF,
            build,
            "dependency build error: failed to add remote dependency 'sub': aliased repository dependency is not supported: @stable/",
        ),
        (
            DependencyError::Local {
                name: "sub".to_owned(),
                source: LocalDependencyError::NoMatch(">=2".to_owned()).into(),
            }
            .into(),
            "DependencyBuildError",
            BACK_OFF,
            build,
            "dependency build error: failed to add local dependency 'sub': can't get a valid version for constraint '>=2'",
        ),
        // SC-HCHART-083
        (
            PackError::Downloaded(LoadError::Empty.into()).into(),
            "ChartPackageError",
            BACK_OFF,
            build,
            "chart package error: failed to load downloaded chart: no files in chart archive",
        ),
        (
            PackError::Package(PackageError::Schema).into(),
            "ChartPackageError",
            BACK_OFF,
            build,
            "chart package error: failed to package chart: invalid JSON in values.schema.json",
        ),
        // SC-HCHART-095
        (
            VerificationError::NotImplemented.into(),
            "ChartVerificationError",
            BACK_OFF,
            build,
            "chart verification error: not implemented",
        ),
        (
            VerificationError::Signature {
                reference: "oci://a.io/web:1.0.0".to_owned(),
                source: Box::new(SignatureFault::Timeout),
            }
            .into(),
            "ChartVerificationError",
            BACK_OFF,
            build,
            "chart verification error: failed to verify oci://a.io/web:1.0.0: context deadline exceeded",
        ),
    ]
}

/// The errors of the step of the build that are not about the build itself: the reason of their condition is another one.
fn others() -> Vec<Row> {
    let unknown = "Unknown";
    vec![
        // SC-HCHART-040
        (
            StepError::Untar(ExtractError::TooMany(1)),
            "Failed",
            BACK_OFF,
            unknown,
            "artifact untar error: tar has more than 1 entries",
        ),
        (
            StepError::Open(storage()),
            "ReadOperationFailed",
            BACK_OFF,
            unknown,
            "failed to open source artifact: invalid dir path: /data",
        ),
        (
            StepError::ReadSource(SourceFault::Read(io())),
            "Failed",
            BACK_OFF,
            unknown,
            "failed to read source artifact: no space",
        ),
        // SC-PROC-061
        (
            StepError::WorkDirectory(io()),
            "DirectoryCreationFailed",
            BACK_OFF,
            unknown,
            "failed to create temporary working directory: no space",
        ),
        // SC-HCHART-021
        (
            UrlError::Parse("parse \"x\": y".to_owned()).into(),
            "URLInvalid",
            STALLED,
            unknown,
            "invalid Helm repository URL: parse \"x\": y",
        ),
        (
            StepError::OciUrl("https://a.example/".to_owned()),
            "Failed",
            STALLED,
            unknown,
            "failed to construct Helm client: invalid OCI registry URL: https://a.example/",
        ),
        (
            UrlError::Scheme("ftp".to_owned()).into(),
            "Failed",
            STALLED,
            unknown,
            "failed to construct Helm client: scheme \"ftp\" not supported",
        ),
        (
            AccessError::Methods(SecretError::BasicAuthMalformed {
                secret: "ns/name".to_owned(),
                present: "username",
                missing: "password",
            })
            .into(),
            "AuthenticationFailed",
            BACK_OFF,
            unknown,
            "failed to detect authentication methods: secret 'ns/name': malformed basic auth - has 'username' but missing 'password'",
        ),
        // SC-HCHART-028
        (
            pulled(DownloadFault::Http(status("401 Unauthorized"))).of_repository(),
            "AuthenticationFailed",
            BACK_OFF,
            unknown,
            "failed to authenticate with the Helm repository: chart pull error: failed to download chart for remote reference: failed to fetch https://a.example/web.tgz : 401 Unauthorized",
        ),
        // SC-HCHART-096, SC-VER-032
        (
            StepError::Verifier {
                provider: "cosign".to_owned(),
                source: Box::new(SignatureFault::NoKeys("ns/keys".to_owned())),
            },
            "VerificationError",
            BACK_OFF,
            unknown,
            "failed to verify the signature using provider 'cosign': no public keys found in secret 'ns/keys'",
        ),
    ]
}

fn failed(error: StepError) -> (Conditions, Failure) {
    let mut conditions = Conditions::empty(1);
    for old in [FETCH_FAILED, BUILD_FAILED] {
        conditions.set(old, Status::True, "Old", "");
    }
    error.observe(&mut conditions);
    (conditions, error.into())
}

// The rows named at each case; SC-HCHART-083, SC-HCHART-084
#[test]
fn errors_of_the_build_set_its_conditions() {
    for (error, reason, next, condition, message) in builds() {
        let is_signature = reason == "ChartVerificationError";
        let (conditions, failure) = failed(error);
        assert_eq!((failure.reason, failure.next), (reason, next), "{message}");
        assert_eq!(failure.notice, Notice::Warning);
        assert_eq!(failure.cause.to_string(), message);
        assert!(failure.marks.is_none());
        let set = conditions.get(condition).unwrap();
        assert_eq!((&*set.reason, &*set.message), (reason, message));
        let other = if condition == "FetchFailed" {
            BUILD_FAILED
        } else {
            FETCH_FAILED
        };
        assert!(conditions.get(other).is_none(), "{message}");
        let verified = conditions.get(SOURCE_VERIFIED);
        assert_eq!(verified.is_some(), is_signature, "{message}");
        if let Some(verified) = verified {
            let found = (&*verified.reason, &*verified.message);
            assert_eq!(found, ("VerificationError", message));
        }
    }
}

// The rows named at each case; SC-HCHART-085
#[test]
fn other_errors_keep_their_reason_in_the_event_only() {
    for (error, reason, next, condition, message) in others() {
        let (conditions, failure) = failed(error);
        assert_eq!((failure.reason, failure.next), (reason, next), "{message}");
        assert_eq!(failure.cause.to_string(), message);
        let set = conditions.get(FETCH_FAILED).unwrap();
        assert_eq!(set.reason, condition);
        assert_eq!(set.message, format!("unknown build error: {message}"));
        assert!(conditions.get(BUILD_FAILED).is_none());
        let verified = conditions.get(SOURCE_VERIFIED);
        assert_eq!(verified.is_some(), reason == "VerificationError");
        if let Some(verified) = verified {
            assert_eq!(
                (verified.status, &*verified.message),
                (Status::False, message)
            );
        }
    }
}

#[test]
fn errors_besides_the_build() {
    let fetch = Some((FETCH_FAILED, Status::True));
    let stored = Some((STORAGE_OPERATION_FAILED, Status::True));
    let missing = || ReadError::NotFound {
        resource: "HelmRepository.source.toolkit.fluxcd.io".to_owned(),
        name: "charts".to_owned(),
    };
    let (warning, quiet) = (Notice::Warning, Notice::Quiet);
    for (error, reason, next, notice, marks, message) in [
        // SC-ART-034
        (
            StepError::from(InspectError::Remove(storage())),
            "Failed",
            BACK_OFF,
            quiet,
            None,
            "failed to remove artifact after digest mismatch: invalid dir path: /data",
        ),
        // SC-HCHART-013
        (
            StepError::Source(missing()),
            "SourceUnavailable",
            BACK_OFF,
            warning,
            fetch,
            "failed to get source: HelmRepository.source.toolkit.fluxcd.io \"charts\" not found",
        ),
        (
            StepError::SourceKind("OCIRepository".to_owned()),
            "UnsupportedSourceKind",
            STALLED,
            warning,
            None,
            "failed to get source: unsupported source kind 'OCIRepository', must be one of: [HelmRepository GitRepository Bucket]",
        ),
        (
            StepError::ArtifactDirectory(storage()),
            "DirectoryCreationFailed",
            BACK_OFF,
            warning,
            stored,
            "failed to create artifact directory: invalid dir path: /data",
        ),
        // SC-HCHART-088
        (
            StepError::Lock(storage()),
            "AcquireLockFailed",
            BACK_OFF,
            warning,
            stored,
            "failed to acquire lock for artifact: invalid dir path: /data",
        ),
        (
            StepError::Copy(io().into()),
            "ArchiveOperationFailed",
            BACK_OFF,
            warning,
            stored,
            "unable to copy Helm chart to storage: no space",
        ),
        (
            StepError::Collect(storage().into()),
            "GarbageCollectionFailed",
            BACK_OFF,
            warning,
            None,
            "garbage collection for deleted resource failed: invalid dir path: /data",
        ),
        (
            StepError::Task("x".to_owned()),
            "Failed",
            BACK_OFF,
            quiet,
            None,
            "a task of the reconcile ended early: x",
        ),
    ] {
        let failure = Failure::from(error);
        assert_eq!((failure.reason, failure.next), (reason, next), "{message}");
        assert_eq!(
            (failure.notice, failure.marks),
            (notice, marks),
            "{message}"
        );
        assert_eq!(failure.cause.to_string(), message);
    }
}

// SC-HCHART-029: the type of an error decides, not its text
#[test]
fn only_rejected_credentials_are_errors_of_authentication() {
    let secret = || SecretReadError::NotFound("tls-401-unauthorized".to_owned());
    for (error, is_authentication) in [
        (
            pulled(DownloadFault::Http(status("401 Unauthorized"))),
            true,
        ),
        (pulled(DownloadFault::Http(status("403 Forbidden"))), false),
        (pulled(DownloadFault::NoUrl("tls-401".to_owned())), false),
        (pulled(of_registry(flux_oci::Error::NoToken)), false),
        (
            StepError::Verifier {
                provider: "cosign".to_owned(),
                source: Box::new(SignatureFault::Secret(secret())),
            },
            false,
        ),
    ] {
        let text = chain(&error);
        let error = error.of_repository();
        let found = matches!(error, StepError::Authentication(_));
        assert_eq!(found, is_authentication, "{text}");
    }
}

#[test]
fn a_chart_that_never_fits_waits_for_its_interval() {
    let minute = Duration::from_mins(1);
    let large = |bytes: u64| StepError::from(PackError::Memory(exhausted(bytes)));
    for (error, next) in [
        (large(2), Next::Retry(Pace::Exactly(minute))),
        (large(1), BACK_OFF),
        (ReferenceError::NoName.into(), STALLED),
    ] {
        let error = error.retried_after(minute);
        let mut conditions = Conditions::empty(1);
        error.observe(&mut conditions);
        assert!(!conditions.is_empty());
        assert_eq!(Failure::from(error).next, next);
    }
}
