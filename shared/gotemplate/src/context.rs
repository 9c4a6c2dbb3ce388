//! Limits and environment of an execution, and the context that functions are called with.

use std::any::Any;
use std::collections::HashMap;
use std::rc::Rc;

use crate::error::{CallError, Error};
use crate::exec::Rv;
use crate::stack::Mark;
use crate::template::{Parsed, Templates};
use crate::threads;
use crate::value::{Map, Str, Time, Value, WeakMap};

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
            return Err(CallError::limit("the template makes too much data"));
        }
        Ok(())
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
