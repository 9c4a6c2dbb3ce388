//! The memory that a chart takes once it is loaded, found before it is.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use flux_golang::path;
use flux_tree::{Entry, Tree, TreePath};
use tar::Archive;

use super::archive::MAX_FRAMING_BYTES;
use super::{MAX_CHART_BYTES, MAX_SUBCHART_DEPTH};

/// The files that are parsed when a chart is loaded.
const PARSED: [&str; 5] = [
    "Chart.yaml",
    "values.yaml",
    "requirements.yaml",
    "Chart.lock",
    "requirements.lock",
];
/// At most as many bytes as a value takes in a list or mapping, with its key, while it is parsed.
const VALUE: u64 = 320;
/// Bytes of a file besides its content.
const FILE: u64 = 512;

/// The bytes that the chart in an archive takes once it is loaded: what the archive and those in its `charts` unpack to, and
/// what its values are parsed to. Ends beyond `limit`. A damaged archive has the size of what can be read of it: the loader
/// reports it.
pub fn loaded_size(archive: &[u8], limit: u64) -> u64 {
    let mut cost = Cost { bytes: 0, limit };
    cost.archive(archive, 0);
    cost.bytes
}

/// As [`loaded_size`], for the chart in a folder of a tree, besides the files of the tree themselves.
pub fn loaded_size_of_folder(tree: &Tree, folder: &TreePath, limit: u64) -> u64 {
    let mut cost = Cost { bytes: 0, limit };
    for (path, entry) in tree.below(folder) {
        if let Entry::File(file) = entry {
            cost.bytes += FILE;
            // What is not parsed is shared with the tree.
            let _ = cost.content(path.as_str(), &*file.content, 0);
        }
    }
    cost.bytes
}

struct Cost {
    bytes: u64,
    limit: u64,
}

impl Cost {
    fn archive(&mut self, archive: impl Read, depth: usize) {
        // A reader of an archive is of another type than that of the archive in which it is, without end.
        let archive: &mut dyn Read = &mut BufReader::new(archive);
        let unzipped = MultiGzDecoder::new(BufReader::new(archive));
        let mut archive = Archive::new(unzipped.take(MAX_CHART_BYTES + MAX_FRAMING_BYTES));
        let Ok(entries) = archive.entries() else {
            return;
        };
        for entry in entries {
            let Ok(entry) = entry else { return };
            if self.bytes > self.limit {
                return;
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            self.bytes += FILE + entry.size().min(MAX_CHART_BYTES);
            if self.content(&name, entry, depth).is_err() {
                return;
            }
        }
    }

    /// Adds what the content of a file is parsed or unpacked to.
    fn content(&mut self, name: &str, content: impl Read, depth: usize) -> io::Result<()> {
        if PARSED.contains(&path::base(name)) {
            return self.parsed(content);
        }
        if path::ext(name) == ".tgz" && name.contains("charts/") && depth < MAX_SUBCHART_DEPTH {
            self.archive(content, depth + 1);
        }
        Ok(())
    }

    /// Adds what YAML is parsed to: each value ends with one of these characters, or begins after a dash.
    fn parsed(&mut self, content: impl Read) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let mut content = content.take(MAX_CHART_BYTES);
        loop {
            let read = content.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                return Ok(());
            };
            let ends = |byte: &&u8| matches!(byte, b',' | b'\n' | b':' | b'[' | b'{' | b'?' | b'-');
            let values = bytes.iter().filter(ends).count() as u64;
            self.bytes += VALUE * values + read as u64;
            if self.bytes > self.limit {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flux_budget::Claim;

    use super::super::metadata::tests::archive;
    use super::*;
    use crate::{Chart, File};

    const CHART: &[u8] = b"apiVersion: v2\nname: web\nversion: 1.0.0\n";

    #[test]
    fn archives_in_charts_and_parsed_values_count() {
        let zeros = vec![0; 1 << 20];
        let items = format!("a: [{}]\n", "1,".repeat(100_000));
        let large = archive(&[("sub/Chart.yaml", CHART), ("sub/zeros", &zeros)]);
        let values = archive(&[
            ("sub/Chart.yaml", CHART),
            ("sub/values.yaml", items.as_bytes()),
        ]);
        let nested = archive(&[("sub/Chart.yaml", CHART), ("sub/charts/a.tgz", &large)]);
        let whole = archive(&[
            ("web/Chart.yaml", CHART),
            ("web/charts/a.tgz", &large),
            ("web/charts/b.tgz", &nested),
            ("web/charts/c.tgz", &values),
            ("web/other/d.tgz", &large),
        ]);
        let size = loaded_size(&whole, u64::MAX);
        let parsed = 100_000 * VALUE;
        let least = (2 << 20) + parsed;
        assert!((least..least + (1 << 20)).contains(&size), "{size}");
        assert!(loaded_size(&whole, 1 << 20) < 4 << 20);
        assert_eq!(loaded_size(b"no archive", u64::MAX), 0);

        let mut tree = Tree::new();
        for (name, content) in [("app/Chart.yaml", CHART), ("app/charts/a.tgz", &large)] {
            let path = TreePath::new(name).unwrap();
            tree.insert_file(path, content.to_vec(), false).unwrap();
        }
        let folder = TreePath::new("app").unwrap();
        let size = loaded_size_of_folder(&tree, &folder, u64::MAX);
        assert!((1 << 20..2 << 20).contains(&size), "{size}");
    }

    /// In what portions readers claim.
    const PORTION: u64 = 16 << 10;

    #[test]
    fn what_is_parsed_is_not_underestimated() {
        let numbers: String = (0..500)
            .map(|number| format!("k{number}: {number}\n"))
            .collect();
        for values in [
            numbers,
            format!("a: [{}1]\n", "1,".repeat(1000)),
            format!(
                "{{{}z: 1}}\n",
                (0..500).map(|n| format!("{n}: ,")).collect::<String>()
            ),
            "- - - - - a\n".repeat(100),
            "a:\n- b\n- c: d\n  e: [{f: g}, []]\n".to_owned(),
            format!("a: {}1{}\n", "[".repeat(200), "]".repeat(200)),
        ] {
            let mut cost = Cost {
                bytes: 0,
                limit: u64::MAX,
            };
            cost.parsed(values.as_bytes()).unwrap();
            let claim = Claim::unlimited();
            flux_yaml::sigs::from_str_within(&values, &claim).unwrap();
            assert!(
                cost.bytes + PORTION >= claim.held(),
                "{values:.40}: {} {}",
                cost.bytes,
                claim.held()
            );
            let files = vec![
                File::new("Chart.yaml", CHART.to_vec()),
                File::new("values.yaml", values.clone().into_bytes()),
            ];
            if let Ok(chart) = Chart::from_files(files) {
                let least = u64::try_from(chart.size()).unwrap();
                assert!(
                    cost.bytes + 4096 >= least,
                    "{values:.40}: {} {least}",
                    cost.bytes
                );
            }
        }
    }
}
