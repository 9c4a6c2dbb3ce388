//! Keys of objects, as paths of files.

/// The longest path, and the longest name between slashes, as on Linux.
const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;

/// Why an object cannot become a file. Everyone who writes to the bucket chooses keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A segment is `.` or `..`: no such key can be requested, as clients and proxies resolve it.
    #[error("the key has '.' or '..' between slashes")]
    Dots,
    /// It has a NUL.
    #[error("invalid argument: the key has a NUL")]
    Nul,
    /// It is too long for a file.
    #[error("file name too long")]
    TooLong,
    /// Nothing is left of it.
    #[error("the key has no name")]
    Empty,
}

/// The path of an object's file: the key without empty segments (SC-BKT-034).
///
/// # Errors
/// No file can have such a path.
pub(crate) fn path(key: &str) -> Result<String, KeyError> {
    if key.contains('\0') {
        return Err(KeyError::Nul);
    }
    let names: Vec<&str> = key.split('/').filter(|name| !name.is_empty()).collect();
    if names.iter().any(|name| matches!(*name, "." | "..")) {
        return Err(KeyError::Dots);
    }
    let path = names.join("/");
    if path.len() > MAX_PATH || names.iter().any(|name| name.len() > MAX_NAME) {
        return Err(KeyError::TooLong);
    }
    if path.is_empty() {
        return Err(KeyError::Empty);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    // SC-BKT-034
    #[test]
    fn keys_stay_within_the_folder() {
        let long = "x".repeat(256);
        let deep = "x/".repeat(2049);
        for (key, want) in [
            ("a", Ok("a")),
            ("a/b.yaml", Ok("a/b.yaml")),
            ("/a", Ok("a")),
            ("//a///b", Ok("a/b")),
            ("..a/b..", Ok("..a/b..")),
            ("a b/ä", Ok("a b/ä")),
            ("../x", Err(KeyError::Dots)),
            ("a/../../x", Err(KeyError::Dots)),
            ("a/./x", Err(KeyError::Dots)),
            ("a\0b", Err(KeyError::Nul)),
            ("", Err(KeyError::Empty)),
            ("//", Err(KeyError::Empty)),
            (long.as_str(), Err(KeyError::TooLong)),
            (deep.as_str(), Err(KeyError::TooLong)),
        ] {
            assert_eq!(path(key), want.map(str::to_owned), "{key}");
        }
    }
}
