//! Commits made here: what is written into them, and how.

use std::fmt::Write as _;

use crate::error::{Error, Fault};
use crate::object::Person;
use crate::sign::{SignError, SigningKey};
use crate::store::MAX_COMMIT;

/// The new content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path from the repository's root, with slashes.
    pub path: Vec<u8>,
    /// The content.
    pub content: Vec<u8>,
}

/// What a commit says besides its files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewCommit {
    /// Who wrote it, and when; the name may be empty (IA-GIT-072).
    pub author: Person,
    /// Who committed it; the author if unset (IA-GIT-072).
    pub committer: Option<Person>,
    /// The message, which is written unmodified (IA-GIT-073).
    pub message: String,
}

/// Why a commit was not made. Print it with its sources, joined by `: `.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The files could not be read or changed.
    #[error(transparent)]
    Files(#[from] Error),
    /// The commit could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The commit is too large, or does not fit into memory.
    #[error("unable to write the commit")]
    Write(#[source] Fault),
}

impl CommitError {
    /// Whether the change is too large for this process, so that a retry does not help.
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::Files(error) => error.is_too_large(),
            Self::Write(fault) => fault.is_too_large(),
            Self::Sign(_) => false,
        }
    }
}

/// The object of a commit, signed if there is a key.
pub(crate) fn encode(
    commit: &NewCommit,
    tree: &str,
    parent: Option<&str>,
    signer: Option<&SigningKey>,
) -> Result<Vec<u8>, CommitError> {
    let limit = MAX_COMMIT;
    if commit.message.len() as u64 > limit / 2 {
        let unit = "bytes in the message of a commit";
        let limit = limit / 2;
        return Err(CommitError::Write(Fault::TooLarge { limit, unit }));
    }
    // Writing to memory cannot fail.
    let mut headers = format!("tree {tree}\n");
    if let Some(parent) = parent {
        let _ = writeln!(headers, "parent {parent}");
    }
    let committer = commit.committer.as_ref().unwrap_or(&commit.author);
    let _ = writeln!(headers, "author {}", identity(&commit.author));
    let _ = writeln!(headers, "committer {}", identity(committer));
    let Some(signer) = signer else {
        return Ok(format!("{headers}\n{}", commit.message).into_bytes());
    };
    let payload = format!("{headers}\n{}", commit.message);
    let signature = signer.sign(payload.as_bytes())?;
    // IA-GIT-097: further lines of a header begin with a space.
    let folded = signature.trim_end_matches('\n').replace('\n', "\n ");
    Ok(format!("{headers}gpgsig {folded}\n\n{}", commit.message).into_bytes())
}

/// `Name <mail> seconds offset`. What would end the name or the line is left out, as Git itself does.
fn identity(person: &Person) -> String {
    let clean = |text: &str| text.replace(['<', '>', '\n', '\0'], "");
    let minutes = person.offset.abs() / 60;
    let sign = if person.offset < 0 { '-' } else { '+' };
    format!(
        "{} <{}> {} {sign}{:02}{:02}",
        clean(&person.name),
        clean(&person.email),
        person.seconds,
        minutes / 60,
        minutes % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Commit;
    use crate::revision::Hash;

    fn person(name: &str, offset: i32) -> Person {
        Person {
            name: name.to_owned(),
            email: "flux@x".to_owned(),
            seconds: 1_700_000_000,
            offset,
        }
    }

    fn encoded(commit: &NewCommit, parent: Option<&str>) -> String {
        String::from_utf8(encode(commit, "t", parent, None).unwrap()).unwrap()
    }

    #[test]
    fn messages_are_written_unmodified() {
        // IA-GIT-072, IA-GIT-073
        for message in ["", "x", "x\n", " \n\nx\n\n# y\n\nSigned-off-by: z"] {
            let commit = NewCommit {
                author: person("Flux", 0),
                message: message.to_owned(),
                ..NewCommit::default()
            };
            let who = "Flux <flux@x> 1700000000 +0000";
            assert_eq!(
                encoded(&commit, Some("p")),
                format!("tree t\nparent p\nauthor {who}\ncommitter {who}\n\n{message}")
            );
        }
    }

    #[test]
    fn identities_cannot_add_headers() {
        // IA-GIT-072
        let commit = NewCommit {
            author: person("", -5400),
            committer: Some(person("a <b>\ngpgsig c\0", 19_800)),
            message: "m".to_owned(),
        };
        let text = encoded(&commit, None);
        assert_eq!(
            text,
            "tree t\nauthor  <flux@x> 1700000000 -0130\n\
             committer a bgpgsig c <flux@x> 1700000000 +0530\n\nm"
        );
        let parsed = Commit::parse(Hash::new("h"), "", text.as_bytes());
        assert_eq!(
            (parsed.author.offset, parsed.committer.offset),
            (-5400, 19_800)
        );
        assert_eq!(parsed.author.name, "");
    }

    #[test]
    fn long_messages_are_refused() {
        let commit = NewCommit {
            message: "x".repeat(MAX_COMMIT as usize),
            ..NewCommit::default()
        };
        let error = encode(&commit, "t", None, None).unwrap_err();
        assert!(error.is_too_large(), "{error}");
    }
}
