//! The charts that are rendered.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// A chart archive.
pub(crate) struct Sample {
    /// Its name in the table.
    pub name: String,
    /// The path of the archive.
    pub archive: PathBuf,
    /// Total bytes of its files.
    pub size: usize,
}

/// Files by path.
type Files = BTreeMap<String, Vec<u8>>;

/// Number of charts of the corpus that are rendered besides kube-prometheus-stack.
const LARGEST: usize = 10;
const STACK: &str = "kube-prometheus-stack";

/// kube-prometheus-stack and the largest other charts of the conformance data that render with their own values.
pub(crate) fn real(folder: &Path) -> Result<Vec<Sample>, String> {
    let archive = oracle::conformance("helm/charts.tar.gz");
    let archive = fs::File::open(archive).map_err(|e| e.to_string())?;
    let mut charts: BTreeMap<String, Files> = BTreeMap::new();
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    for entry in archive.entries().map_err(|e| e.to_string())? {
        let mut entry = entry.map_err(|e| e.to_string())?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(|e| e.to_string())?;
        let below = path.strip_prefix("charts/").unwrap_or(&path);
        if let Some((chart, file)) = below.split_once('/') {
            let files = charts.entry(chart.to_owned()).or_default();
            files.insert(file.to_owned(), content);
        }
    }
    // The corpus has an older version than the stack asks for, and next to it the right one.
    let metrics = charts
        .get("kube-state-metrics")
        .cloned()
        .unwrap_or_default();
    if let Some(stack) = charts.get_mut(STACK) {
        stack.retain(|path, _| !path.starts_with("charts/kube-state-metrics/"));
        let metrics = metrics.into_iter();
        stack.extend(
            metrics.map(|(path, text)| (format!("charts/kube-state-metrics/{path}"), text)),
        );
    }
    let size = |files: &Files| files.values().map(Vec::len).sum::<usize>();
    let mut charts: Vec<_> = charts.into_iter().collect();
    charts.sort_by_key(|(name, files)| (name != STACK, std::cmp::Reverse(size(files))));
    charts.truncate(1 + LARGEST);
    let samples = charts
        .iter()
        .map(|(name, files)| sample(folder, name, files));
    samples.collect()
}

/// A library of n definitions and n calls of `tpl` with n texts that include them, for n growing twofold.
pub(crate) fn synthetic(folder: &Path) -> Result<Vec<Sample>, String> {
    let samples = [100, 200, 400, 800].map(|n| {
        let mut files = Files::new();
        let mut put = |path: &str, text: String| files.insert(path.to_owned(), text.into_bytes());
        put(
            "Chart.yaml",
            "apiVersion: v2\nname: app\nversion: 1.0.0\n".to_owned(),
        );
        put(
            "charts/library/Chart.yaml",
            "apiVersion: v2\nname: library\nversion: 1.0.0\ntype: library\n".to_owned(),
        );
        let mut library = String::from(
            "{{- define \"library.render\" -}}\n{{- if typeIs \"string\" .value -}}\n{{- tpl .value .context -}}\n{{- else -}}\n{{- tpl (.value | toYaml) .context -}}\n{{- end -}}\n{{- end -}}\n",
        );
        let mut values = String::from("name: app\nitems:\n");
        for i in 0..n {
            let _ = write!(
                library,
                "{{{{- define \"library.label{i}\" -}}}}\n{{{{ .Release.Name }}}}-{{{{ .Values.name }}}}-{i}\n{{{{- end -}}}}\n"
            );
            let _ = write!(
                values,
                "- key: '{{{{ include \"library.label{i}\" . }}}}'\n  value: 'item {i} of {{{{ .Values.name | upper }}}}'\n"
            );
        }
        put("charts/library/templates/_library.tpl", library);
        put("values.yaml", values);
        put(
            "templates/map.yaml",
            "kind: ConfigMap\nmetadata: {name: a}\ndata:\n{{- range .Values.items }}\n  {{ include \"library.render\" (dict \"value\" .key \"context\" $) }}: {{ include \"library.render\" (dict \"value\" .value \"context\" $) | quote }}\n  all-{{ include \"library.render\" (dict \"value\" .key \"context\" $) }}: {{ include \"library.render\" (dict \"value\" . \"context\" $) | quote }}\n{{- end }}\n".to_owned(),
        );
        sample(folder, &format!("n = {n}"), &files)
    });
    samples.into_iter().collect()
}

fn sample(folder: &Path, name: &str, files: &Files) -> Result<Sample, String> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        archive
            .append_data(&mut header, format!("chart/{path}"), content.as_slice())
            .map_err(|e| e.to_string())?;
    }
    let bytes = archive.into_inner().and_then(GzEncoder::finish);
    let path = folder.join(format!("{}.tgz", name.replace(' ', "")));
    fs::write(&path, bytes.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    Ok(Sample {
        name: name.to_owned(),
        archive: path,
        size: files.values().map(Vec::len).sum(),
    })
}
