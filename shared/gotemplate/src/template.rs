//! Sets of templates.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use crate::context::Session;
use crate::error::Error;
use crate::exec;
use crate::functions::Functions;
use crate::parse::{self, Delimiters, Tree};
use crate::value::Value;

/// The value of a missing map key (`Template.Option("missingkey=…")`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingKey {
    /// No value, printed as `<no value>`.
    #[default]
    Default,
    /// The zero value of the map's element type: for `interface {}`, nil.
    Zero,
    /// An error.
    Error,
}

/// The templates of one text, by name, to [add](Templates::add) to any number of sets. Cheap to clone.
#[derive(Clone)]
pub struct Parsed(Arc<BTreeMap<Arc<str>, Arc<Tree>>>);

impl Parsed {
    /// Estimated bytes of memory, without the text that it was [parsed from](Templates::read_shared).
    pub fn size(&self) -> usize {
        self.0.values().map(|tree| tree.size() + ENTRY_BYTES).sum()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Tree>> {
        self.0.get(name)
    }
}

/// Bytes of an entry: a name, a pointer, a reference count and the overhead of the map.
const ENTRY_BYTES: usize = 64;

/// Templates that can call each other, the functions they call, and options.
///
/// A clone is cheap and independent: templates parsed into it are not added to the original, and only they take further
/// memory. A set may be shared between threads.
#[derive(Clone)]
pub struct Templates {
    name: Arc<str>,
    functions: Arc<Functions>,
    missing_key: MissingKey,
    left: Arc<[u8]>,
    right: Arc<[u8]>,
    layer: Arc<Layer>,
}

/// Definitions that override those of another layer.
#[derive(Clone, Default)]
struct Layer {
    trees: HashMap<Arc<str>, Arc<Tree>>,
    below: Option<Arc<Layer>>,
    depth: usize,
}

/// Number of layers at which a clone is flattened, since each costs a look-up.
const MAX_LAYERS: usize = 8;

impl Layer {
    fn find(&self, name: &str) -> Option<&Arc<Tree>> {
        let mut layer = self;
        loop {
            if let Some(tree) = layer.trees.get(name) {
                return Some(tree);
            }
            layer = layer.below.as_ref()?;
        }
    }

    fn flattened(&self) -> Self {
        let mut trees = self
            .below
            .as_ref()
            .map_or_else(HashMap::new, |below| below.flattened().trees);
        trees.extend(
            self.trees
                .iter()
                .map(|(k, v)| (Arc::clone(k), Arc::clone(v))),
        );
        Self {
            trees,
            below: None,
            depth: 0,
        }
    }
}

impl Templates {
    /// An empty set. The name appears where Go names the template that a set was created from (`no template "x" associated
    /// with template "gotpl"`).
    pub fn new(name: &str, functions: Arc<Functions>) -> Self {
        Self {
            name: name.into(),
            functions,
            missing_key: MissingKey::Default,
            left: Arc::from(&b"{{"[..]),
            right: Arc::from(&b"}}"[..]),
            layer: Arc::default(),
        }
    }

    /// The set with another treatment of missing keys.
    pub fn with_missing_key(mut self, missing_key: MissingKey) -> Self {
        self.missing_key = missing_key;
        self
    }

    /// The set with other delimiters for texts parsed from now on; an empty delimiter is the default one.
    pub fn with_delimiters(mut self, left: &str, right: &str) -> Self {
        self.left = if left.is_empty() { "{{" } else { left }.as_bytes().into();
        self.right = if right.is_empty() { "}}" } else { right }
            .as_bytes()
            .into();
        self
    }

    /// The name passed to [`Templates::new`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The functions.
    pub fn functions(&self) -> &Arc<Functions> {
        &self.functions
    }

    /// The missing key option.
    pub fn missing_key(&self) -> MissingKey {
        self.missing_key
    }

    /// Parses `text` as the template `name`, with all its definitions (`t.New(name).Parse(text)`): definitions replace
    /// earlier ones of the same name, unless their body is empty.
    pub fn parse(&mut self, name: &str, text: &[u8]) -> Result<(), Error> {
        let parsed = self.read(name, text)?;
        self.add(&parsed);
        Ok(())
    }

    /// Parses `text` as [`Templates::parse`] does, but does not change the set: the result can be [added](Self::add) to
    /// this and other sets with the same functions and delimiters, any number of times.
    pub fn read(&self, name: &str, text: &[u8]) -> Result<Parsed, Error> {
        self.read_shared(name, &Bytes::copy_from_slice(text))
    }

    /// As [`Templates::read`], but shares the text with the result instead of copying it.
    pub fn read_shared(&self, name: &str, text: &Bytes) -> Result<Parsed, Error> {
        let delimiters = Delimiters {
            left: &self.left,
            right: &self.right,
        };
        let trees = parse::parse(name, text, delimiters, &self.functions)?;
        Ok(Parsed(Arc::new(trees)))
    }

    /// Adds parsed templates to the set: definitions replace existing ones, unless their body is empty.
    pub fn add(&mut self, parsed: &Parsed) {
        let new: Vec<_> = parsed
            .0
            .iter()
            .filter(|(name, tree)| !tree.empty || !self.contains(name))
            .map(|(name, tree)| (Arc::clone(name), Arc::clone(tree)))
            .collect();
        if new.is_empty() {
            return;
        }
        if Arc::get_mut(&mut self.layer).is_none() {
            let depth = self.layer.depth + 1;
            self.layer = Arc::new(if depth > MAX_LAYERS {
                self.layer.flattened()
            } else {
                Layer {
                    trees: HashMap::new(),
                    below: Some(Arc::clone(&self.layer)),
                    depth,
                }
            });
        }
        if let Some(layer) = Arc::get_mut(&mut self.layer) {
            layer.trees.extend(new);
        }
    }

    /// Whether there is a template with this name.
    pub fn contains(&self, name: &str) -> bool {
        self.layer.find(name).is_some()
    }

    /// Estimated bytes of memory besides the templates themselves.
    pub fn size(&self) -> usize {
        let mut layers = std::iter::successors(Some(&self.layer), |layer| layer.below.as_ref());
        layers
            .by_ref()
            .map(|layer| ENTRY_BYTES * layer.trees.len())
            .sum()
    }

    /// The names of all templates, sorted.
    pub fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.layer.flattened().trees.into_keys().collect();
        names.sort();
        names
    }

    /// Executes the template `name` on `data` and returns its output.
    pub fn execute(
        &self,
        session: &mut Session,
        name: &str,
        data: Value,
    ) -> Result<Vec<u8>, Error> {
        let tree = self.find(name).ok_or_else(|| Error::NotFound {
            name: flux_golang::strconv::quote(name.as_bytes()),
            set: flux_golang::strconv::quote(self.name.as_bytes()),
        })?;
        exec::execute(self, &tree, session, data)
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Tree>> {
        self.layer.find(name).cloned()
    }

    /// Identifies the options that affect parsing, as far as they differ between the sets of a session.
    pub(crate) fn language(&self) -> usize {
        Arc::as_ptr(&self.functions).cast::<u8>() as usize
            ^ Arc::as_ptr(&self.left).cast::<u8>() as usize
    }
}
