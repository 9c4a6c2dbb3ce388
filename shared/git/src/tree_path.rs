//! Names that a repository must not contain (SC-GIT-077).

/// Why a file name is rejected, or `None`: control characters, `.` and `..`, and everything that some file system
/// treats as `.git`. A name need not be UTF-8: invalid bytes are not relevant here.
pub(crate) fn refusal(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() {
        return Some("empty name");
    }
    if name.contains(&b'/') {
        return Some("a name with a slash");
    }
    if name.iter().any(|byte| *byte < 0x20 || *byte == 0x7f) {
        return Some("control character");
    }
    for part in name.split(|byte| *byte == b'\\') {
        if part == b"." || part == b".." {
            return Some("relative component");
        }
        if is_git_folder(part) {
            return Some("stands for the .git folder");
        }
    }
    None
}

/// Whether a file system treats the name as `.git`: by ignoring case (all), certain invisible characters (HFS+), or
/// trailing dots, spaces and streams, or as the short name `git~1` (NTFS).
fn is_git_folder(name: &[u8]) -> bool {
    let visible: String = String::from_utf8_lossy(name)
        .chars()
        .filter(|c| !is_ignored_by_hfs(*c))
        .collect();
    let lower = visible.to_ascii_lowercase();
    for stem in [".git", "git~1"] {
        let Some(rest) = lower.strip_prefix(stem) else {
            continue;
        };
        let rest = rest.split(':').next().unwrap_or_default();
        if rest.chars().all(|c| c == '.' || c == ' ') {
            return true;
        }
    }
    false
}

fn is_ignored_by_hfs(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// Whether some file system treats the name as `.gitmodules`.
pub(crate) fn is_modules_file(name: &[u8]) -> bool {
    let visible: String = String::from_utf8_lossy(name)
        .chars()
        .filter(|c| !is_ignored_by_hfs(*c))
        .collect();
    visible.eq_ignore_ascii_case(".gitmodules")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // SC-GIT-077
    #[rstest]
    #[case("a.yaml", true)]
    #[case(".gitignore", true)]
    #[case("git", true)]
    #[case(".github", true)]
    #[case("git~2", true)]
    #[case("..a", true)]
    #[case("", false)]
    #[case(".", false)]
    #[case("..", false)]
    #[case("a/b", false)]
    #[case("a\nb", false)]
    #[case(".git", false)]
    #[case(".GIT", false)]
    #[case("git~1", false)]
    #[case(".git. .", false)]
    #[case(".git::$INDEX_ALLOCATION", false)]
    #[case(".g\u{200c}it", false)]
    #[case("a\\..\\b", false)]
    #[case("a\\.git", false)]
    fn unsafe_tree_entry_names_are_refused(#[case] name: &str, #[case] fine: bool) {
        assert_eq!(refusal(name.as_bytes()).is_none(), fine);
    }
}
