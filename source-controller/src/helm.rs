//! Helm repositories, as HelmRepositories publish them and HelmCharts read them.

pub(crate) mod access;
pub(crate) mod fetch;
pub(crate) mod http;
pub(crate) mod indexes;
pub(crate) mod oci;

use std::time::Duration;

use flux_api::meta::GoDuration;
use flux_api::source::HelmRepositorySpec;

/// The interval of a HelmRepository without one (SC-HREPO-002).
const INTERVAL: Duration = Duration::from_mins(1);
/// The time limit of a request to a HelmRepository without one (SC-HREPO-002).
const TIMEOUT: Duration = Duration::from_mins(1);

/// The interval of a HelmRepository.
pub(crate) fn interval(spec: &HelmRepositorySpec) -> Duration {
    nonzero(spec.interval.as_ref()).unwrap_or(INTERVAL)
}

/// The time limit of a request to a HelmRepository.
pub(crate) fn timeout(spec: &HelmRepositorySpec) -> Duration {
    nonzero(spec.timeout.as_ref()).unwrap_or(TIMEOUT)
}

fn nonzero(duration: Option<&GoDuration>) -> Option<Duration> {
    duration
        .map(|duration| duration.to_std())
        .filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    // SC-HREPO-002
    #[test]
    fn absent_durations_have_defaults() {
        let none = HelmRepositorySpec::default();
        assert_eq!((interval(&none), timeout(&none)), (INTERVAL, TIMEOUT));
        let spec = HelmRepositorySpec {
            interval: Some(Duration::from_secs(5).into()),
            timeout: Some(Duration::from_secs(6).into()),
            ..HelmRepositorySpec::default()
        };
        assert_eq!(interval(&spec), Duration::from_secs(5));
        assert_eq!(timeout(&spec), Duration::from_secs(6));
    }
}
