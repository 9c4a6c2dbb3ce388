//! The formats of files, and how they are recognised (KC-SOPS-004, KC-SOPS-005).

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Anything; encrypted, it is a JSON object with one text `data`.
    Binary,
    /// Lines `NAME=value`.
    Dotenv,
    /// Sections with keys.
    Ini,
    /// JSON.
    Json,
    /// YAML, of one or more documents.
    Yaml,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 5] = [
        Self::Binary,
        Self::Dotenv,
        Self::Ini,
        Self::Json,
        Self::Yaml,
    ];

    /// The format of a file by the end of its path, or of a value by the end of its key (KC-SOPS-004).
    pub fn of_path(path: &str) -> Self {
        let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| path.ends_with(suffix));
        if ends(&[".json", ".dockerconfigjson"]) {
            Self::Json
        } else if ends(&[".yaml", ".yml"]) {
            Self::Yaml
        } else if ends(&[".env"]) {
            Self::Dotenv
        } else if ends(&[".ini"]) {
            Self::Ini
        } else {
            Self::Binary
        }
    }

    /// The name in messages (KC-SOPS-016).
    pub fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Dotenv => "dotenv",
            Self::Ini => "INI",
            Self::Json => "JSON",
            Self::Yaml => "YAML",
        }
    }

    /// The text without which a file of the format is not an encrypted one (KC-SOPS-005).
    pub fn marker(self) -> &'static [u8] {
        match self {
            Self::Binary | Self::Json => br#""mac": "ENC["#,
            Self::Dotenv => b"sops_mac=ENC[",
            Self::Ini => b"[sops]",
            Self::Yaml => b"mac: ENC[",
        }
    }

    /// Whether `data` holds the marker of the format.
    pub fn marks(self, data: &[u8]) -> bool {
        let marker = self.marker();
        data.windows(marker.len()).any(|part| part == marker)
    }

    /// The format of encrypted data by its marker. JSON stands for binary too: they are encrypted alike (KC-SOPS-012).
    pub fn detect(data: &[u8]) -> Option<Self> {
        [Self::Json, Self::Yaml, Self::Dotenv, Self::Ini]
            .into_iter()
            .find(|format| format.marks(data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_path_determines_the_format() {
        // KC-SOPS-004
        for (path, format) in [
            ("a.yaml", Format::Yaml),
            ("a.yml", Format::Yaml),
            ("dir.yaml/a.json", Format::Json),
            ("x.dockerconfigjson", Format::Json),
            (".dockerconfigjson", Format::Json),
            (".env", Format::Dotenv),
            ("a.env", Format::Dotenv),
            ("a.ini", Format::Ini),
            ("a.YAML", Format::Binary),
            ("a.txt", Format::Binary),
            ("", Format::Binary),
        ] {
            assert_eq!(Format::of_path(path), format, "{path}");
        }
    }

    #[test]
    fn encrypted_data_is_recognised_by_its_marker() {
        // KC-SOPS-005
        let detect = |text: &str| Format::detect(text.as_bytes());
        assert_eq!(detect("sops:\n    mac: ENC[x"), Some(Format::Yaml));
        assert_eq!(detect("{\"sops\": {\"mac\": \"ENC[x"), Some(Format::Json));
        assert_eq!(detect("sops_mac=ENC[x"), Some(Format::Dotenv));
        assert_eq!(detect("a = b\n[sops]\n"), Some(Format::Ini));
        assert_eq!(detect("{\"mac\":\"ENC[x"), None);
        assert_eq!(detect(""), None);
        assert!(!Format::Json.marks(b"mac: ENC["));
    }
}
