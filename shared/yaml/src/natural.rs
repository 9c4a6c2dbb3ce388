//! The order in which go-yaml writes the keys of a map (HE-YAML-004): digits by value, letters last.

use std::cmp::Ordering;

use flux_golang::unicode::{is_digit, is_letter};

use crate::resolve::Flavor;

/// Sorts entries by their keys.
///
/// The order of go-yaml v2 is not transitive (`12` < `1a` < `2` < `12`), so this is a merge sort: it gives some order
/// for such keys, where the standard library's sort may panic. Go gives a random one.
pub(crate) fn sort_by_key<T: Copy>(entries: &mut [T], key: impl Fn(&T) -> &str, flavor: Flavor) {
    let less_or_equal = |a: &T, b: &T| compare(key(a), key(b), flavor) != Ordering::Greater;
    if entries.is_sorted_by(less_or_equal) {
        return;
    }
    entries.sort_by(|a, b| key(a).cmp(key(b)));
    let mut buffer = entries.to_vec();
    let mut width = 1;
    while width < entries.len() {
        for (from, to) in entries.chunks(2 * width).zip(buffer.chunks_mut(2 * width)) {
            let (mut left, mut right) = from.split_at(width.min(from.len()));
            for slot in to {
                let from_left = match (left.first(), right.first()) {
                    (Some(a), Some(b)) => less_or_equal(a, b),
                    (Some(_), None) => true,
                    _ => false,
                };
                let side = if from_left { &mut left } else { &mut right };
                if let Some((first, rest)) = side.split_first() {
                    *slot = *first;
                    *side = rest;
                }
            }
        }
        entries.copy_from_slice(&buffer);
        width *= 2;
    }
}

fn compare(a: &str, b: &str, flavor: Flavor) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    // Only the first difference matters, and which digits precede it.
    let pairs = a.bytes().zip(b.bytes());
    let mut same = pairs.take_while(|(x, y)| x == y).count();
    while !a.is_char_boundary(same) || !b.is_char_boundary(same) {
        same -= 1;
    }
    let (prefix, a_rest) = a.split_at(same);
    let b_rest = b.get(same..).unwrap_or("");
    let (Some(x), Some(y)) = (a_rest.chars().next(), b_rest.chars().next()) else {
        return a_rest.len().cmp(&b_rest.len());
    };
    let (x_letter, y_letter) = (is_letter(x), is_letter(y));
    if x_letter && y_letter {
        return x.cmp(&y);
    }
    if x_letter || y_letter {
        let after_digit = prefix.chars().next_back().is_some_and(is_digit);
        let letter_first = flavor == Flavor::V3 && after_digit;
        return if letter_first == x_letter {
            Ordering::Less
        } else {
            Ordering::Greater
        };
    }
    // A zero within a number counts as a digit; a leading zero does not.
    let in_number = (x == '0' || y == '0')
        && prefix
            .chars()
            .rev()
            .take_while(|c| is_digit(*c))
            .any(|c| c != '0');
    let (x_value, x_digits) = number(a_rest, in_number);
    let (y_value, y_digits) = number(b_rest, in_number);
    x_value
        .cmp(&y_value)
        .then(x_digits.cmp(&y_digits))
        .then(x.cmp(&y))
}

fn number(text: &str, in_number: bool) -> (i64, usize) {
    text.chars().take_while(|c| is_digit(*c)).fold(
        (i64::from(in_number), 0),
        |(value, digits), c| {
            let digit = i64::from(u32::from(c)) - i64::from(u32::from('0'));
            (value.wrapping_mul(10).wrapping_add(digit), digits + 1)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted<'k>(keys: &[&'k str], flavor: Flavor) -> Vec<&'k str> {
        let mut keys = keys.to_vec();
        sort_by_key(&mut keys, |key| key, flavor);
        keys
    }

    #[test]
    fn keys_are_sorted_in_natural_order() {
        // HE-YAML-004
        let want = ["", "_x", "A", "a", "a-b", "a1", "a2", "a10", "ab", "b"];
        let mut shuffled = want;
        shuffled.reverse();
        assert_eq!(sorted(&shuffled, Flavor::V2), want);
        assert_eq!(sorted(&["1a", "1-"], Flavor::V2), ["1-", "1a"]);
        assert_eq!(sorted(&["1-", "1a"], Flavor::V3), ["1a", "1-"]);
        assert_eq!(
            sorted(&["a01", "a1", "a001"], Flavor::V2),
            ["a1", "a01", "a001"]
        );
    }

    #[test]
    fn keys_without_an_order_are_still_sorted() {
        let keys: Vec<String> = (0..50)
            .flat_map(|n| [format!("{n}"), format!("{n}a")])
            .collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        assert_eq!(sorted(&keys, Flavor::V2).len(), keys.len());
    }
}
