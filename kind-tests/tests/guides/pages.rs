//! The blocks of YAML in the pages of `docs/how-to`.

use std::collections::BTreeMap;

use kind_tests::{Doing, Failure, Result, cache};

/// Kinds with the version that tutorials still show, and the current one.
const TUTORIALS: [(&str, &str, &str); 7] = [
    ("OCIRepository", "source.toolkit.fluxcd.io/v1beta2", SOURCE),
    ("Bucket", "source.toolkit.fluxcd.io/v1beta2", SOURCE),
    ("ImageRepository", "image.toolkit.fluxcd.io/v1beta2", IMAGE),
    ("ImagePolicy", "image.toolkit.fluxcd.io/v1beta2", IMAGE),
    (
        "ImageUpdateAutomation",
        "image.toolkit.fluxcd.io/v1beta2",
        IMAGE,
    ),
    (
        "Provider",
        "notification.toolkit.fluxcd.io/v1beta3",
        NOTIFICATION,
    ),
    (
        "Alert",
        "notification.toolkit.fluxcd.io/v1beta3",
        NOTIFICATION,
    ),
];
const SOURCE: &str = "source.toolkit.fluxcd.io/v1";
const IMAGE: &str = "image.toolkit.fluxcd.io/v1";
const NOTIFICATION: &str = "notification.toolkit.fluxcd.io/v1";

/// All pages.
pub(crate) struct Pages {
    /// The documents of each page that users apply.
    documents: BTreeMap<String, Vec<String>>,
    /// The files of the repository, by path.
    files: BTreeMap<String, String>,
}

impl Pages {
    /// Reads them from the checkout.
    pub(crate) fn read() -> Result<Self> {
        let folder = cache::workspace().join("docs/how-to");
        let mut pages = Self {
            documents: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        for entry in std::fs::read_dir(&folder).doing(format!("list {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let text = std::fs::read_to_string(&path).doing(format!("read {name}"))?;
            let documents = pages.documents.entry(name.into_owned()).or_default();
            for block in blocks(&text) {
                let (first, rest) = block.split_once('\n').unwrap_or_default();
                if let Some(path) = first.strip_prefix("# ").filter(|path| is_path(path)) {
                    pages.files.insert(path.to_owned(), rest.to_owned());
                } else {
                    documents.extend(block.split("---\n").map(str::to_owned));
                }
            }
        }
        Ok(pages)
    }

    /// The files that a user commits.
    pub(crate) fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    /// What a user applies of a page.
    pub(crate) fn page(&self, name: &str) -> Result<Vec<&str>> {
        let found = self.documents.get(name).filter(|found| !found.is_empty());
        let found = found.ok_or_else(|| Failure::new(format!("no page {name} with YAML")))?;
        Ok(found.iter().map(String::as_str).collect())
    }

    /// Of a page the objects of these kinds and names, such as `Secret git-auth`.
    pub(crate) fn of_page(&self, page: &str, objects: &[&str]) -> Result<Vec<&str>> {
        let all = self.page(page)?;
        let find = |wanted: &&str| {
            let found = all.iter().copied().find(|text| title(text) == **wanted);
            found.ok_or_else(|| Failure::new(format!("{page} has no {wanted}")))
        };
        objects.iter().map(find).collect()
    }
}

/// Kind and name of a document, which pages write in block style.
fn title(document: &str) -> String {
    let value = |key: &str| {
        let mut lines = document.lines();
        lines
            .find_map(|line| line.strip_prefix(key))
            .unwrap_or_default()
    };
    format!("{} {}", value("kind: "), value("  name: "))
}

/// The document as tutorials write it, and the API server's warning about its version, if it is an old one.
pub(crate) fn as_in_tutorials(document: &str) -> (String, Option<String>) {
    let title = title(document);
    let kind = title.split(' ').next().unwrap_or_default();
    let Some((_, old, new)) = TUTORIALS.iter().find(|(own, ..)| *own == kind) else {
        return (document.to_owned(), None);
    };
    let version = old.rsplit('/').next().unwrap_or_default();
    let warning = format!("{version} {kind} is deprecated, upgrade to v1");
    let (old, new) = (
        format!("apiVersion: {old}\n"),
        format!("apiVersion: {new}\n"),
    );
    (document.replacen(&new, &old, 1), Some(warning))
}

fn is_path(text: &str) -> bool {
    !text.contains(' ') && (text.contains('/') || text.starts_with('.'))
}

/// The contents of the fenced blocks of YAML.
fn blocks(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language == "yaml", String::new())),
            (Some((is_yaml, text)), Some(_)) => {
                if *is_yaml {
                    found.push(std::mem::take(text));
                }
                open = None;
            }
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}
