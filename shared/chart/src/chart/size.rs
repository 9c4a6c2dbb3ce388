//! Estimates the memory of a chart.

use std::collections::HashSet;
use std::mem::{size_of, size_of_val};

use flux_yaml::{Map, Value};

use super::{Chart, Dependency, File, Metadata};

/// Bytes around a file in an archive: its header, and on average half a block of padding.
const FRAMING: usize = 512 + 256;
/// Bytes of an empty chart: the end of its archive, and its fields.
const LEAST: usize = 1024 + 512;

impl Chart {
    /// Estimated bytes of memory of the chart, including files and subcharts. Data that is shared with the caller (the tree
    /// that the chart was loaded from) is included.
    pub fn size(&self) -> usize {
        LEAST + self.size_beside(&mut HashSet::new())
    }

    /// A subchart's files share their memory with the parent's; `seen` has the addresses that were counted already.
    fn size_beside(&self, seen: &mut HashSet<usize>) -> usize {
        // Each file is listed as loaded, and again in its own list.
        let listed = self.raw.iter().chain(&self.templates).chain(&self.files);
        let mut size = size_of::<Self>() + metadata(&self.metadata);
        for file in listed {
            size += size_of::<File>() + file.name.len();
            if seen.insert(file.data.as_ptr() as usize) {
                size += FRAMING + file.data.len();
            }
        }
        let locked = self.lock.iter().flat_map(|lock| &lock.dependencies);
        size += locked.map(|all| dependencies(all)).sum::<usize>();
        size += self.values.as_ref().map_or(0, map);
        let subcharts = self.dependencies.iter();
        size + subcharts
            .map(|chart| chart.size_beside(seen))
            .sum::<usize>()
    }
}

fn metadata(metadata: &Metadata) -> usize {
    let texts = metadata.sources.iter().chain(&metadata.keywords);
    let texts = texts.map(|text| size_of::<String>() + text.len());
    let annotations = metadata.annotations.iter();
    let annotations =
        annotations.map(|(key, text)| 2 * size_of::<String>() + key.len() + text.len());
    let maintainers = metadata.maintainers.iter().map(|maintainer| {
        size_of_val(maintainer)
            + maintainer.name.len()
            + maintainer.email.len()
            + maintainer.url.len()
    });
    metadata.description.len()
        + texts.sum::<usize>()
        + annotations.sum::<usize>()
        + maintainers.sum::<usize>()
        + metadata.dependencies.as_deref().map_or(0, dependencies)
}

fn dependencies(dependencies: &[Dependency]) -> usize {
    let texts = dependencies.iter().map(|dependency| {
        dependency.name.len()
            + dependency.version.len()
            + dependency.repository.len()
            + dependency.condition.len()
    });
    size_of_val(dependencies) + texts.sum::<usize>()
}

/// Bytes of a mapping besides the struct: its entries with their hashes, and the hash table.
fn map(entries: &Map) -> usize {
    let each = size_of::<String>() + size_of::<Value>() + size_of::<u64>();
    let table = entries.len() * (size_of::<usize>() + 2);
    let within = entries.iter().map(|(key, entry)| key.len() + value(entry));
    entries.capacity() * each + table + within.sum::<usize>()
}

fn value(data: &Value) -> usize {
    match data {
        Value::String(text) => text.capacity(),
        Value::Seq(items) => {
            items.capacity() * size_of::<Value>() + items.iter().map(value).sum::<usize>()
        }
        Value::Map(entries) => map(entries),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use crate::{Chart, File};

    #[test]
    fn each_copy_of_an_anchored_text_counts() {
        let text = "long ".repeat(2_000);
        let copies = "*text,".repeat(50);
        let chart = Chart::from_files(vec![
            File::new("Chart.yaml", "apiVersion: v2\nname: a\nversion: 1.0.0\n"),
            File::new(
                "values.yaml",
                format!("text: &text {text}\nall: [{copies}]\n"),
            ),
        ]);
        assert!(chart.unwrap().size() > 50 * text.len());
    }
}
