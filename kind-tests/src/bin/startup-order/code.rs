//! Determines the functions that ran, and writes the linker script that orders them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use kind_tests::{Result, ensure};

/// Names that cover more than this in code that did not run, if that is the larger part, are omitted: a generic
/// function has one name for all its types.
const MAX_UNUSED: u64 = 64 << 10;

/// A function's section without build-specific parts. The file that holds it does not count: in a program that is
/// optimised as a whole there is only one.
type Name = String;

/// The bytes that a name covers, and those that ran.
#[derive(Default)]
struct Size {
    all: u64,
    ran: u64,
}

/// The functions that ran in any controller.
#[derive(Default)]
pub(crate) struct Order(BTreeSet<Name>);

/// A section as placed by the linker.
struct Placed<'m> {
    start: u64,
    size: u64,
    section: &'m str,
}

impl Order {
    /// Adds a controller: its link map, and the executed instructions as recorded by callgrind.
    ///
    /// # Errors
    /// If the two do not belong together.
    pub(crate) fn add(&mut self, package: &str, map: &str, ran: &str) -> Result {
        let mut placed: Vec<Placed<'_>> = map.lines().filter_map(placed).collect();
        // An empty section may be at the start of another one.
        placed.sort_by_key(|section| (section.start, section.size));
        let mut touched = BTreeSet::new();
        for address in ran.lines().filter_map(address) {
            let after = placed.partition_point(|section| section.start <= address);
            let found = after.checked_sub(1).filter(|place| {
                placed
                    .get(*place)
                    .is_some_and(|section| address < section.start + section.size)
            });
            touched.extend(found);
        }
        let begins = |place: &usize| {
            let section = placed.get(*place).map_or("", |section| section.section);
            section.contains("lang_start")
        };
        ensure!(
            touched.iter().any(begins),
            "{package}: lang_start did not run: the map is not that of the profiled program"
        );
        let mut sizes: BTreeMap<Name, Size> = BTreeMap::new();
        for (place, section) in placed.iter().enumerate() {
            let size = sizes.entry(without_hashes(section.section)).or_default();
            size.all += section.size;
            if touched.contains(&place) {
                size.ran += section.size;
            }
        }
        let wanted = sizes.into_iter().filter(|(_, size)| {
            size.ran > 0 && (size.all <= MAX_UNUSED || size.ran * 8 >= size.all)
        });
        self.0.extend(wanted.map(|(name, _)| name));
        Ok(())
    }

    /// The number of names.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// A linker script that places them before everything else.
    pub(crate) fn script(&self) -> String {
        let mut text = String::from(
            "/* What runs in a controller that starts and idles. Written by `cargo xorder`, read by link.rs. */\n\
             SECTIONS\n{\n  .text_startup :\n  {\n",
        );
        for section in &self.0 {
            let _ = writeln!(text, "    *({section})");
        }
        text.push_str("  }\n}\nINSERT BEFORE .text;\n");
        text
    }
}

/// Parses a line of lld's map about a piece of code: two addresses, size, alignment, `FILE:(SECTION)`.
fn placed(line: &str) -> Option<Placed<'_>> {
    let mut rest = line;
    let mut numbers = [0; 4];
    for number in &mut numbers {
        let (word, after) = rest.trim_start().split_once(' ')?;
        *number = u64::from_str_radix(word, 16).ok()?;
        rest = after;
    }
    let (_file, section) = rest.trim_start().split_once(":(")?;
    Some(Placed {
        start: numbers[0],
        size: numbers[2],
        section: section.strip_suffix(')')?,
    })
    .filter(|placed| placed.section.starts_with(".text."))
}

/// Parses a line of callgrind's output that counts an instruction: its address, a line, a count.
fn address(line: &str) -> Option<u64> {
    let (address, _) = line.strip_prefix("0x")?.split_once(' ')?;
    u64::from_str_radix(address, 16).ok()
}

/// A symbol without the hashes of its crates' versions and of its types.
fn without_hashes(section: &str) -> String {
    const HASH: &str = "17h";
    if let Some((name, rest)) = section.rsplit_once(HASH)
        && rest.len() == 17
        && rest.ends_with('E')
    {
        return format!("{name}{HASH}*");
    }
    // The v0 mangling marks crates with `Cs`, digits and letters, and `_`.
    let mut name = String::new();
    let mut rest = section;
    while let Some((before, after)) = rest.split_once("Cs") {
        name.push_str(before);
        name.push_str("Cs");
        rest = after;
        let end = after.find(|c: char| !c.is_ascii_alphanumeric());
        if let Some(end) = end
            && after[end..].starts_with('_')
        {
            name.push('*');
            rest = &after[end..];
        }
    }
    name.push_str(rest);
    name
}

#[cfg(test)]
mod tests {
    use super::{Order, without_hashes};

    const MAP: &str = "\
             VMA              LMA     Size Align Out     In      Symbol
          1000             1000      100    16 .text
          1000             1000       40    16         /target/deps/libtokio-0123456789abcdef.rlib(tokio.o):(.text._ZN5tokio3runE17h0123456789abcdefE)
          1000             1000       40     1                 _ZN5tokio3runE17h0123456789abcdefE
          1040             1040       40    16         /target/deps/a_controller-0123.a_controller.1-cgu.0.rcgu.o:(.text._ZN3std2rt10lang_startE17h0123456789abcdefE)
          1080             1080       40    16         /usr/lib/libc.a(read.o):(.text)
          10c0             10c0       40    16         /target/deps/libtokio-0123456789abcdef.rlib(tokio.o):(.text._ZN5tokio4idleE17h0123456789abcdefE)
";

    #[test]
    fn executed_functions_are_named_without_hashes() {
        let mut order = Order::default();
        let ran = "fn=x\n0x1004 0 1\n0x1044 0 1\n0x1090 0 7\ncalls=1 0x10c0 0\n";
        order.add("a-controller", MAP, ran).unwrap();
        let script = order.script();
        let lines: Vec<&str> = script.lines().map(str::trim).collect();
        let want = [
            ".text_startup :",
            "{",
            "*(.text._ZN3std2rt10lang_startE17h*)",
            "*(.text._ZN5tokio3runE17h*)",
            "}",
        ];
        assert!(
            lines.windows(want.len()).any(|found| found == want),
            "{script}"
        );
        assert!(order.add("a-controller", MAP, "0x1004 0 1\n").is_err());
    }

    #[test]
    fn crate_hashes_of_v0_mangling_are_removed() {
        assert_eq!(
            without_hashes(".text._RNvMNtCslNYArtu3iFV_5alloc6stringNtB2_6String11try_reserve"),
            ".text._RNvMNtCs*_5alloc6stringNtB2_6String11try_reserve"
        );
    }
}
