//! The patterns that fields of several kinds share.

/// What the API accepts as an interval (SC-PROC-104, KC-API-008).
pub(crate) const INTERVAL: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";

/// What the API accepts as the timeout of a source: no hours (SC-PROC-104).
pub(crate) const TIMEOUT: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$";
