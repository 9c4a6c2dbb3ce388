//! Limits and environment of an execution, and the context that functions are called with.

use std::any::Any;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use flux_budget::{Budget, Claim, Exhausted};

use crate::error::{CallError, Error};
use crate::exec::Rv;
use crate::stack::Mark;
use crate::template::{Parsed, Templates};
use crate::threads;
use crate::value::{Map, Str, Time, Value, WeakMap, deep_equal_within};

/// Limits on an execution. Beyond them it ends with an error that names the position in the template.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Nodes executed and functions called, in every iteration of loops.
    pub steps: u64,
    /// Bytes written by all templates together; output of `include` is counted at each level.
    pub output: u64,
    /// Bytes of strings, list slots and maps created by functions, over the whole session.
    pub allocation: u64,
    /// Depth of nested `template` actions; Go's own limit is 100000.
    pub depth: usize,
    /// Bytes of thread stack that executions may use. The thread should have a megabyte more than this. [`with_stack`]
    /// starts one.
    pub stack: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            steps: 500_000_000,
            output: 1 << 30,
            allocation: 4 << 30,
            depth: 100_000,
            stack: 768 * 1024,
        }
    }
}

/// The host's services for functions. The default implementation has none: the time is fixed, there are no random bytes and
/// no names resolve.
pub trait Environment {
    /// The current time, for `now`, `ago` and dates of unusual values.
    fn now(&self) -> Time {
        Time::unix(0, 0)
    }

    /// Fills the buffer with secure random bytes, for `rand…`, `uuidv4`, `gen…`, `bcrypt`, `encryptAES`.
    fn random(&self, _buffer: &mut [u8]) -> Result<(), CallError> {
        Err(CallError::new("no source of random bytes"))
    }

    /// The addresses of a host name, for `getHostByName`.
    fn resolve(&self, host: &str) -> Result<Vec<String>, CallError> {
        Err(CallError::new(format!("lookup {host}: no such host")))
    }

    /// An environment variable, for `env` and `expandenv` if the host registers them.
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}

/// An environment without any services.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

impl Environment for Nothing {}

/// A run of related executions: the environment, the limits, and the resources used so far.
///
/// When a session ends, maps that templates put into themselves with `set` are emptied, so that such cycles do not leak:
/// take out results that must outlive the session before that.
pub struct Session {
    environment: Rc<dyn Environment>,
    pub(crate) limits: Limits,
    host: Rc<dyn Any>,
    pub(crate) steps: u64,
    pub(crate) written: u64,
    allocated: u64,
    memory: Option<Arc<Claim>>,
    /// What was taken through it, of what was allocated and written.
    claimed: u64,
    /// The variables of all executions in progress.
    pub(crate) vars: Vec<Rv>,
    /// Argument vectors to reuse for the next call.
    spare: Vec<Vec<Value>>,
    mark: Option<Mark>,
    /// The largest stack use so far, in bytes.
    deepest: usize,
    parsed: HashMap<(usize, Str, Str), Parsed>,
    parsed_bytes: usize,
    changed: Vec<WeakMap>,
}

const TOO_MUCH: &str = "the template makes too much data";
/// Bytes are claimed in portions, to avoid a claim for every value.
const PORTION: u64 = 64 << 10;
/// Estimated bytes of a value that is written as a document.
const NODE_BYTES: u64 = 64;
/// Depth beyond which a value is not measured: what writes it refuses it.
const MAX_DEPTH: usize = 500;
/// Bytes of a map besides its entries.
const MAP_BYTES: usize = 128;
/// Maximum bytes of the texts cached by [`Context::evaluate`].
const PARSED_BYTES: usize = 8 << 20;

impl Session {
    /// A session with this environment and these limits.
    pub fn new(environment: impl Environment + 'static, limits: Limits) -> Self {
        Self {
            environment: Rc::new(environment),
            limits,
            host: Rc::new(()),
            steps: 0,
            written: 0,
            allocated: 0,
            memory: None,
            claimed: 0,
            vars: Vec::new(),
            spare: Vec::new(),
            mark: None,
            deepest: 0,
            parsed: HashMap::new(),
            parsed_bytes: 0,
            changed: Vec::new(),
        }
    }

    /// Attaches data of the host, which its functions get from [`Context::host`].
    pub fn with_host(mut self, host: impl Any) -> Self {
        self.host = Rc::new(host);
        self
    }

    /// Takes the memory of what is made and written through `claim`, if there is one. When the session ends, it gives back
    /// what was not written.
    pub fn with_memory(mut self, claim: Option<Arc<Claim>>) -> Self {
        self.memory = claim;
        self
    }

    /// Claims what was allocated and written since the last claim.
    pub(crate) fn claim(&mut self) -> Result<(), Exhausted> {
        let all = self.allocated.saturating_add(self.written);
        let due = all.saturating_sub(self.claimed);
        if due < PORTION {
            return Ok(());
        }
        if let Some(memory) = &self.memory {
            memory.take(due)?;
        }
        self.claimed = all;
        Ok(())
    }

    /// Marks the stack at the start of the outermost execution. Returns whether this is it.
    pub(crate) fn enter(&mut self) -> bool {
        let outermost = self.mark.is_none();
        if outermost {
            self.mark = Some(Mark::here());
        }
        outermost
    }

    pub(crate) fn leave(&mut self, outermost: bool) {
        if outermost {
            self.mark = None;
        }
    }

    #[inline]
    pub(crate) fn stack_used(&mut self) -> usize {
        let used = self.mark.map_or(0, Mark::used);
        self.deepest = self.deepest.max(used);
        used
    }

    pub(crate) fn borrow_args(&mut self) -> Vec<Value> {
        self.spare.pop().unwrap_or_default()
    }

    pub(crate) fn give_back(&mut self, mut args: Vec<Value>) {
        args.clear();
        if self.spare.len() < 16 && args.capacity() <= 64 {
            self.spare.push(args);
        }
    }

    fn charge(&mut self, bytes: usize) -> Result<(), CallError> {
        self.allocated = self.allocated.saturating_add(bytes as u64);
        if self.allocated > self.limits.allocation {
            return Err(CallError::limit(TOO_MUCH));
        }
        Ok(self.claim()?)
    }

    /// Counts the memory of a function's result.
    #[inline]
    pub(crate) fn charge_value(&mut self, value: &Value) -> Result<(), CallError> {
        match value {
            Value::Str(s) => self.charge(s.len()),
            Value::Bytes(bytes) => self.charge(bytes.len()),
            Value::List(list) => self.charge(std::mem::size_of_val(list.items())),
            // Its entries were counted when they were created.
            Value::Map(_) => self.charge(MAP_BYTES),
            _ => Ok(()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        threads::used(self.deepest);
        if let Some(memory) = &self.memory {
            memory.give_back(self.claimed.saturating_sub(self.written));
        }
        for map in &self.changed {
            map.clear();
        }
    }
}

/// The execution that called a function.
pub struct Context<'a> {
    pub(crate) templates: &'a Templates,
    pub(crate) session: &'a mut Session,
}

impl Context<'_> {
    /// The set being executed; inside [`Context::evaluate`], the extended set.
    pub fn templates(&self) -> &Templates {
        self.templates
    }

    /// Executes a template of the set (`include`).
    pub fn execute(&mut self, name: &str, data: Value) -> Result<Str, Error> {
        let output = self.templates.execute(self.session, name, data)?;
        Ok(output.into())
    }

    /// Parses `text` as template `name` into a copy of the set and executes it there (`tpl`). Its definitions are visible
    /// only to the templates it calls. A text is parsed once per session.
    pub fn evaluate(&mut self, name: &str, text: &Str, data: Value) -> Result<Str, Error> {
        let parsed = self.parse_once(name, text)?;
        let mut templates = self.templates.clone();
        templates.add(&parsed);
        let output = match parsed.get(name) {
            Some(tree) => crate::exec::execute(&templates, tree, self.session, data)?,
            None => Vec::new(),
        };
        Ok(output.into())
    }

    fn parse_once(&mut self, name: &str, text: &Str) -> Result<Parsed, Error> {
        let key = (self.templates.language(), Str::from(name), text.clone());
        if let Some(parsed) = self.session.parsed.get(&key) {
            return Ok(parsed.clone());
        }
        let parsed = self.templates.read(name, text)?;
        if self.session.parsed_bytes + text.len() <= PARSED_BYTES {
            self.session.parsed_bytes += text.len();
            self.session.parsed.insert(key, parsed.clone());
        }
        Ok(parsed)
    }

    /// The host's data.
    pub fn host<T: Any>(&self) -> Option<Rc<T>> {
        Rc::downcast(Rc::clone(&self.session.host)).ok()
    }

    /// The current time.
    pub fn now(&self) -> Time {
        self.session.environment.now()
    }

    /// The environment.
    pub fn environment(&self) -> Rc<dyn Environment> {
        Rc::clone(&self.session.environment)
    }

    /// Counts memory that is about to be allocated against [`Limits::allocation`]. Functions whose result may be much
    /// larger than their arguments (`repeat`, `until`) call this first.
    pub fn charge(&mut self, bytes: usize) -> Result<(), CallError> {
        self.session.charge(bytes)
    }

    /// Counts the memory that it takes to write the value as a document, if that is more than a mebibyte. A value that is in
    /// another one several times is written as often, so that a few of them may make a text of any length.
    pub fn charge_document(&mut self, value: &Value) -> Result<(), CallError> {
        const SMALL: u64 = 1 << 20;
        let session = &mut *self.session;
        let room = session.limits.allocation.saturating_sub(session.allocated);
        let mut left = room;
        if !measure(value, 0, &mut left) {
            return Err(CallError::limit(TOO_MUCH));
        }
        let bytes = room - left;
        if bytes < SMALL {
            return Ok(());
        }
        self.charge(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Reads a document with a claim for the memory that this takes, which is given back.
    pub fn reading<T>(
        &mut self,
        read: impl FnOnce(&Claim) -> Result<T, Exhausted>,
    ) -> Result<T, CallError> {
        let session = &*self.session;
        let claim = session.memory.clone().unwrap_or_else(|| {
            let left = session.limits.allocation.saturating_sub(session.allocated);
            Arc::new(Budget::new(left).claim())
        });
        let before = claim.held();
        let read = read(&claim);
        claim.give_back(claim.held().saturating_sub(before));
        read.map_err(|exhausted| match self.session.memory {
            Some(_) => exhausted.into(),
            None => CallError::limit(TOO_MUCH),
        })
    }

    /// [`deep_equal`](crate::deep_equal), counting its work against [`Limits::steps`].
    pub fn deep_equal(&mut self, a: &Value, b: &Value) -> Result<bool, CallError> {
        let room = self.session.limits.steps.saturating_sub(self.session.steps);
        let mut left = room;
        let equal = deep_equal_within(a, b, &mut left);
        self.spend(room - left + u64::from(left == 0))?;
        Ok(equal)
    }

    /// Counts work that is not part of a template node against [`Limits::steps`].
    pub fn spend(&mut self, steps: u64) -> Result<(), CallError> {
        self.session.steps = self.session.steps.saturating_add(steps);
        if self.session.steps > self.session.limits.steps {
            return Err(CallError::limit("the template takes too many steps"));
        }
        Ok(())
    }

    /// Tells the session that a container was put into this map, which may now contain itself.
    pub fn note_change(&mut self, map: &Map) {
        if let Some(weak) = map.watch() {
            self.session.changed.push(weak);
        }
    }
}

/// Takes the bytes of a document from `left`, in which each line is indented by its depth. Returns whether they were there.
fn measure(value: &Value, depth: usize, left: &mut u64) -> bool {
    let line = NODE_BYTES + 2 * depth as u64;
    let mut take = |bytes: u64| {
        let rest = left.checked_sub(bytes);
        *left = rest.unwrap_or_default();
        rest.is_some()
    };
    if depth > MAX_DEPTH {
        return true;
    }
    match value {
        Value::Str(text) => {
            let lines = memchr::memchr_iter(b'\n', text).count() as u64;
            take(line * (1 + lines) + text.len() as u64)
        }
        Value::Bytes(bytes) => take(line + 2 * bytes.len() as u64),
        Value::List(list) => {
            take(line)
                && list
                    .items()
                    .iter()
                    .all(|item| measure(item, depth + 1, left))
        }
        Value::Map(map) => {
            take(line)
                && map.read(|entries| {
                    entries.iter().all(|(key, value)| {
                        let rest = left.checked_sub(key.len() as u64);
                        *left = rest.unwrap_or_default();
                        rest.is_some() && measure(value, depth + 1, left)
                    })
                })
        }
        _ => take(line),
    }
}

/// Runs `work` on a thread with `bytes` of stack (and a margin), for deeply nested templates. The memory is allocated only
/// as it is used. Input and output must be `Send`, which values are not: create them inside `work`.
///
/// ```
/// let depth = flux_gotemplate::with_stack(64 << 20, || 1 + 1);
/// assert_eq!(depth.unwrap(), 2);
/// ```
///
/// # Errors
///
/// The system could not create a thread. A panic of `work` continues in the caller.
pub fn with_stack<T: Send>(
    bytes: usize,
    work: impl FnOnce() -> T + Send,
) -> Result<T, std::io::Error> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("template".to_owned())
            .stack_size(bytes.saturating_add(2 << 20))
            .spawn_scoped(scope, work)?;
        match thread.join() {
            Ok(result) => Ok(result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
