//! The limit of open files and connections.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open file descriptors as far as the process may, as Go's runtime does: many container
/// runtimes set it to about a thousand, which a few hundred clients of a server exhaust.
pub(crate) fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "cannot raise the file descriptor limit");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_descriptor_limit_is_raised_to_its_maximum() {
        let before = getrlimit(Resource::Nofile);
        let mut lower = before;
        lower.current = Some(256);
        setrlimit(Resource::Nofile, lower).unwrap();
        raise_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }
}
