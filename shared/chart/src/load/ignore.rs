//! `.helmignore`: excludes files of a folder from the chart (HE-LOAD-008).

use flux_golang::path;

use super::LoadError;

/// The patterns of a `.helmignore` file in order, followed by Helm's own.
#[derive(Clone, Debug)]
pub(super) struct Rules(Vec<Pattern>);

#[derive(Clone, Debug)]
struct Pattern {
    /// `None` if it is malformed after trimming: it matches nothing.
    glob: Option<path::Pattern>,
    negated: bool,
    directories_only: bool,
    /// A pattern without a slash matches the last part of a path only.
    base_name: bool,
}

impl Rules {
    /// Parses the text of the file, which may be absent.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, LoadError> {
        let text = text.unwrap_or_default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for line in text.lines().chain([r"templates/.?*"]) {
            patterns.extend(Pattern::parse(line.trim())?);
        }
        Ok(Self(patterns))
    }

    /// Whether the path is excluded. The first pattern that excludes it decides; a negated pattern excludes every path that
    /// it does *not* match, as in Helm.
    pub(super) fn ignores(&self, path: &str, is_directory: bool) -> bool {
        self.0.iter().any(|pattern| {
            let applies = !pattern.directories_only || is_directory;
            (applies && pattern.matches(path)) != pattern.negated
        })
    }
}

impl Pattern {
    fn parse(line: &str) -> Result<Option<Self>, LoadError> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        if line.contains("**") {
            return Err(LoadError::Ignore(
                "double-star (**) syntax is not supported",
            ));
        }
        path::Pattern::compile(line.as_bytes())
            .map_err(|_| LoadError::Ignore("syntax error in pattern"))?;
        let (negated, glob) = line
            .strip_prefix('!')
            .map_or((false, line), |rest| (true, rest));
        let (directories_only, glob) = glob
            .strip_suffix('/')
            .map_or((false, glob), |rest| (true, rest));
        let base_name = !glob.contains('/');
        Ok(Some(Self {
            glob: path::Pattern::compile(glob.strip_prefix('/').unwrap_or(glob).as_bytes()).ok(),
            negated,
            directories_only,
            base_name,
        }))
    }

    fn matches(&self, path: &str) -> bool {
        let text = if self.base_name {
            path::base(path)
        } else {
            path
        };
        let glob = self.glob.as_ref();
        glob.is_some_and(|glob| glob.matches(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helmignore_patterns_match_as_in_helm() {
        // HE-LOAD-008
        for (rules, path, is_directory, want) in [
            ("helm.txt", "helm.txt", false, true),
            ("helm.*", "rudder.txt", false, false),
            ("cargo/*.*", "cargo/a.txt", false, true),
            ("cargo/a.txt", "mast/a.txt", false, false),
            ("ru[c-e]?er.txt", "rudder.txt", false, true),
            ("templates/.?*", "templates/.dotfile", false, true),
            (".*", ".joonix", false, true),
            (".*", "helm.txt", false, false),
            (".*", "a/.joonix", false, true),
            ("cargo/", "cargo", true, true),
            ("cargo/", "mast", true, false),
            ("helm.txt/", "helm.txt", false, false),
            ("/*.txt", "cargo/a.txt", false, false),
            ("/cargo", "cargo", true, true),
            ("!helm.txt", "helm.txt", false, false),
            ("!helm.txt", "tiller.txt", false, true),
            ("!cargo", "cargo", true, false),
            ("!cargo/", "cargo", true, false),
            ("!cargo/", "mast/", false, true),
            ("# c\n\n  helm.txt  ", "helm.txt", false, true),
            ("", "templates/.x", false, true),
        ] {
            let parsed = Rules::parse(Some(rules)).unwrap();
            assert_eq!(
                parsed.ignores(path, is_directory),
                want,
                "{rules} on {path}"
            );
        }
        assert!(Rules::parse(Some("a**")).is_err());
        assert!(Rules::parse(Some("[")).is_err());
    }
}
