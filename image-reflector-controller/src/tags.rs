//! The tags of a repository in one piece of memory.

use flux_budget::{Claim, Exhausted};

/// Tags in the form in which they are stored: each ended by a line break. A list of them takes little more memory than their
/// text, however many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags {
    lines: String,
    count: usize,
}

/// The most characters of a tag.
const MAX_TAG: usize = 128;
/// The bytes of a tag while tags are sorted: its text in the sorted list, and its place in the order.
const SORTING: u64 = 8;

impl Tags {
    /// The tags in this text, each ended by a line break (the last one need not be).
    pub(crate) fn of_lines(mut lines: String) -> Self {
        if !lines.is_empty() && !lines.ends_with('\n') {
            lines.push('\n');
        }
        let count = lines.matches('\n').count();
        Self { lines, count }
    }

    /// Adds a tag, whose memory is claimed. What a registry must not use as a tag is left out: it would break the lines, or
    /// end up in the files of a Git repository.
    ///
    /// # Errors
    /// The memory is exhausted.
    pub(crate) fn push(&mut self, tag: &str, claim: &Claim) -> Result<(), Exhausted> {
        if is_tag(tag) {
            // A list that grows is copied into one of twice its size.
            claim.take(3 * (tag.len() as u64 + 1))?;
            self.lines.push_str(tag);
            self.lines.push('\n');
            self.count += 1;
        }
        Ok(())
    }

    /// The tags in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.lines.split_terminator('\n')
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether the list is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Their text, each ended by a line break.
    pub(crate) fn lines(&self) -> &str {
        &self.lines
    }

    /// Those that `keep` selects, byte-wise descending; equal ones stay (IR-REPO-087).
    ///
    /// # Errors
    /// The memory is exhausted.
    pub(crate) fn sorted(
        &self,
        keep: impl FnMut(&&str) -> bool,
        claim: &Claim,
    ) -> Result<Self, Exhausted> {
        let pointers = self.count as u64 * size_of::<&str>() as u64;
        claim.take(self.lines.len() as u64 + self.count as u64 * SORTING + pointers)?;
        let mut order: Vec<&str> = self.iter().filter(keep).collect();
        // Registries list ascending, which is one run for this sort.
        order.sort_by(|a, b| b.cmp(a));
        let mut lines = String::with_capacity(order.iter().map(|tag| tag.len() + 1).sum());
        for tag in &order {
            lines.push_str(tag);
            lines.push('\n');
        }
        Ok(Self {
            count: order.len(),
            lines,
        })
    }
}

/// Whether the distribution specification allows the tag.
fn is_tag(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=MAX_TAG).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(list: &[&str]) -> Tags {
        let (mut tags, claim) = (Tags::default(), Claim::unlimited());
        for tag in list {
            tags.push(tag, &claim).unwrap();
        }
        tags
    }

    // IR-REPO-087
    #[test]
    fn tags_are_sorted_descending_and_stay_doubled() {
        let list = tags(&["1.0.0", "v1", "1.0.0-rc", "a", "V1", "a", "b.sig"]);
        let sorted = list.sorted(|tag| *tag != "b.sig", &Claim::unlimited());
        let sorted = sorted.unwrap();
        let found: Vec<_> = sorted.iter().collect();
        assert_eq!(found, ["v1", "a", "a", "V1", "1.0.0-rc", "1.0.0"]);
        assert_eq!(sorted.len(), 6);
        assert_eq!(sorted.lines(), "v1\na\na\nV1\n1.0.0-rc\n1.0.0\n");
        assert_eq!(Tags::of_lines(sorted.lines().to_owned()), sorted);
        assert!(Tags::default().is_empty() && Tags::default().iter().next().is_none());
    }

    #[test]
    fn what_is_no_tag_is_left_out() {
        let longest = "a".repeat(128);
        let list = [
            &*longest,
            "A_b-c.1",
            "",
            "a b",
            "a\nb",
            "é",
            "$(x)",
            "'",
            &"a".repeat(129),
        ];
        let kept = tags(&list);
        assert_eq!(kept.iter().collect::<Vec<_>>(), [&*longest, "A_b-c.1"]);
    }

    #[test]
    fn memory_is_claimed() {
        let budget = flux_budget::Budget::new(100);
        let (claim, mut list) = (budget.claim(), Tags::default());
        list.push("0123456789", &claim).unwrap();
        list.push("0123456789", &claim).unwrap();
        assert!(list.push("0123456789012345", &claim).is_err());
        assert!(list.sorted(|_| true, &claim).is_err());
        assert_eq!(list.len(), 2);
    }
}
