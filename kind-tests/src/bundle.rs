//! The files of a release, built from `manifests/` by our own kustomize engine: what `flux install`, kustomize bases of
//! users and flux-operator download.

mod schemas;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use flux_kustomize::{Build, Options, Order, Remotes};
use flux_tree::{Tree, TreePath};
use serde_json::Value;

use crate::cache;
use crate::failure::{Doing, Failure, Result};

/// The release of Flux that the manifests stand in for.
pub const VERSION: &str = "v2.10.1";

/// The controllers, in the order of upstream's installation.
pub const CONTROLLERS: [&str; 7] = [
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
    "image-automation-controller",
    "source-watcher",
];

/// The files of a release by their path. Those without a folder are its assets; those below `distribution/` are the content of
/// the OCI artifact that a FluxInstance names.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What a release is made for.
#[derive(Clone, Debug, Default)]
pub struct Release {
    /// Where its images are published, without a slash at the end; needed for `install.yaml` and `openshift.yaml`.
    pub registry: String,
    /// The digests of its images by controller, `sha256:` included; empty if they are not known.
    pub digests: BTreeMap<String, String>,
}

/// The definitions of a controller, by the name of their files in `manifests/crds`.
fn owner(definition: &str) -> &'static str {
    let group = definition.split('_').next().unwrap_or_default();
    match group {
        "source.toolkit.fluxcd.io" => "source-controller",
        "kustomize.toolkit.fluxcd.io" => "kustomize-controller",
        "helm.toolkit.fluxcd.io" => "helm-controller",
        "notification.toolkit.fluxcd.io" => "notification-controller",
        "image.toolkit.fluxcd.io" if definition.contains("imageupdateautomations") => {
            "image-automation-controller"
        }
        "image.toolkit.fluxcd.io" => "image-reflector-controller",
        "source.extensions.fluxcd.io" => "source-watcher",
        _ => "",
    }
}

/// The files of `manifests/`, below this folder of a tree.
pub fn manifests(tree: &mut Tree) -> Result {
    let root = TreePath::new("manifests")?;
    add_folder(tree, &cache::workspace().join("manifests"), &root)
}

fn add_folder(tree: &mut Tree, folder: &Path, at: &TreePath) -> Result {
    for entry in std::fs::read_dir(folder).doing(format!("read {}", folder.display()))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let inner = at.join(name)?;
        if path.is_dir() {
            add_folder(tree, &path, &inner)?;
        } else {
            tree.insert_file(inner, std::fs::read(&path)?, false)?;
        }
    }
    Ok(())
}

/// What kustomize builds of this folder, sorted by kind as upstream's installers do.
pub fn build(tree: &Tree, folder: &str) -> Result<String> {
    run(tree, folder, Options::default())
}

fn run(tree: &Tree, folder: &str, mut options: Options) -> Result<String> {
    options.order = Order::Legacy;
    let folder = TreePath::new(folder)?;
    match flux_kustomize::build(tree, &folder, &options, &Remotes::new())? {
        Build::Done(output) => Ok(output.resources.to_yaml()),
        Build::Needs(_) => Err(Failure::new("the manifests refer to something elsewhere")),
    }
}

/// The `<controller>.yaml` of the bundle: its definitions, account, Services and Deployment (DI-REL-003).
fn component(tree: &mut Tree, name: &str) -> Result<String> {
    let crds = TreePath::new("manifests/crds")?;
    let mut resources = vec![format!("../../manifests/{name}")];
    for (path, _) in tree.children(&crds) {
        if owner(path.file_name()) == name {
            resources.push(format!("../../{}", path.as_str()));
        }
    }
    let kustomization = serde_json::json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": resources,
        "labels": [{"pairs": {"app.kubernetes.io/component": name, "app.kubernetes.io/part-of": "flux"}}],
    });
    let folder = format!("release/{name}");
    let file = TreePath::new(&format!("{folder}/kustomization.yaml"))?;
    tree.insert_file(file, kustomization.to_string().into_bytes(), false)?;
    // A definition is a file of another kustomization's folder.
    run(tree, &folder, Options::flux())
}

/// The flat files of `manifests.tar.gz` (DI-REL-002).
pub fn flat() -> Result<BTreeMap<String, String>> {
    let mut tree = Tree::new();
    manifests(&mut tree)?;
    let mut files = BTreeMap::new();
    for name in CONTROLLERS {
        files.insert(format!("{name}.yaml"), component(&mut tree, name)?);
    }
    for name in ["rbac", "policies"] {
        let built = build(&tree, &format!("manifests/{name}"))?;
        files.insert(format!("{name}.yaml"), built);
    }
    Ok(files)
}

/// The files of `crd-schemas.tar.gz`: a JSON schema of each version of each definition, for editors and validators.
pub fn schemas() -> Result<BTreeMap<String, String>> {
    let mut tree = Tree::new();
    manifests(&mut tree)?;
    let definitions = serde_saphyr::from_multiple(&build(&tree, "manifests/crds")?)?;
    schemas::files(definitions)
}

/// Every file of the release.
pub fn release(release: &Release) -> Result<Files> {
    let flat = flat()?;
    let mut files = Files::new();
    for (name, text) in &flat {
        let path = format!("distribution/flux/{VERSION}/{name}");
        files.insert(path, text.clone().into_bytes());
        let Some(controller) = name
            .strip_suffix(".yaml")
            .filter(|name| CONTROLLERS.contains(name))
        else {
            continue;
        };
        // DI-REL-001: what bases of users are made of
        let (mut crds, mut deployment) = (String::new(), String::new());
        for document in text.split("---\n") {
            let kind = kind_of(document)?;
            let file = match &*kind {
                "CustomResourceDefinition" => &mut crds,
                "Deployment" | "Service" => &mut deployment,
                _ => continue,
            };
            if !file.is_empty() {
                file.push_str("---\n");
            }
            file.push_str(document);
        }
        files.insert(format!("{controller}.crds.yaml"), crds.into_bytes());
        files.insert(
            format!("{controller}.deployment.yaml"),
            deployment.into_bytes(),
        );
    }
    files.insert("manifests.tar.gz".to_owned(), archive(&flat)?);
    files.insert("crd-schemas.tar.gz".to_owned(), archive(&schemas()?)?);
    for variant in ["install", "openshift"] {
        let text = variant_of(variant, &flat, release)?;
        files.insert(format!("{variant}.yaml"), text.into_bytes());
    }
    // FO-SRC-009: without digests an installer takes the tags of the manifests
    if !release.digests.is_empty() {
        let images = images(&flat, &release.digests)?;
        let path = format!("distribution/flux-images/{VERSION}/upstream-alpine.yaml");
        files.insert(path, images.into_bytes());
        let version = format!("{}\n", VERSION.trim_start_matches('v'));
        let path = "distribution/flux-images/VERSION".to_owned();
        files.insert(path, version.into_bytes());
    }
    Ok(files)
}

fn kind_of(document: &str) -> Result<String> {
    let object: Value = serde_saphyr::from_str(document)?;
    Ok(object["kind"].as_str().unwrap_or_default().to_owned())
}

/// The tag of the controller's image in the bundle.
pub fn tag(flat: &BTreeMap<String, String>, controller: &str) -> Result<String> {
    let prefix = format!("image: fluxcd/{controller}:");
    let text = flat.get(&format!("{controller}.yaml"));
    let line = text
        .into_iter()
        .flat_map(|text| text.lines())
        .find_map(|line| line.trim().strip_prefix(&prefix));
    line.map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("{controller} has no image with a tag")))
}

fn images(flat: &BTreeMap<String, String>, digests: &BTreeMap<String, String>) -> Result<String> {
    let mut text = "images:\n".to_owned();
    for name in CONTROLLERS {
        let (tag, digest) = (tag(flat, name)?, digests.get(name));
        let digest = digest.ok_or_else(|| Failure::new(format!("no digest for {name}")))?;
        let _ = write!(
            text,
            "- name: fluxcd/{name}\n  newTag: {tag}\n  digest: {digest}\n"
        );
    }
    Ok(text)
}

/// `manifests/install` or `manifests/openshift` with the images of this release.
fn variant_of(variant: &str, flat: &BTreeMap<String, String>, release: &Release) -> Result<String> {
    let mut tree = Tree::new();
    manifests(&mut tree)?;
    let mut images = Vec::new();
    for name in CONTROLLERS {
        let registry = match &*release.registry {
            "" => "fluxcd",
            registry => registry,
        };
        images.push(serde_json::json!({
            "name": format!("flux-rs/{name}"), "newName": format!("{registry}/{name}"), "newTag": tag(flat, name)?,
        }));
    }
    let kustomization = serde_json::json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": [format!("../manifests/{variant}")], "images": images,
    });
    let file = TreePath::new("release/kustomization.yaml")?;
    tree.insert_file(file, kustomization.to_string().into_bytes(), false)?;
    build(&tree, "release")
}

/// A gzipped tar of files without folders, the same bytes for the same files.
pub fn archive(files: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_cksum();
        tar.append_data(&mut header, name, text.as_bytes())?;
    }
    Ok(tar.into_inner()?.finish()?)
}
