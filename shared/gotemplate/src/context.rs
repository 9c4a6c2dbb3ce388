//! What an execution may use, how far it may go, and what a called function can reach.

use std::any::Any;
use std::rc::Rc;

use crate::error::{CallError, Error};
use crate::template::Templates;
use crate::value::{Str, Time, Value};

/// How far an execution may go before it is stopped with an error that names the template's position.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Nodes executed, counting every loop round.
    pub steps: u64,
    /// Bytes written by all templates together, those of `include` counted at each level.
    pub output: u64,
    /// Bytes of strings and list slots that functions made, over the whole session.
    pub allocation: u64,
    /// Nested template calls; Go's own limit is 100000.
    pub depth: usize,
    /// Bytes of thread stack that executions may use. A thread must have been started with more than this.
    pub stack: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            steps: 500_000_000,
            output: 1 << 30,
            allocation: 4 << 30,
            depth: 100_000,
            stack: 1 << 20,
        }
    }
}

/// What functions need from outside, handed in by the host. The default has none of it: no time passes, nothing is
/// random, no name resolves.
pub trait Environment {
    /// The current time, for `now`, `ago` and dates of odd values.
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

    /// An environment variable, for `env` and `expandenv` where the host registers them.
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}

/// An environment with nothing in it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

impl Environment for Nothing {}

/// One run of related executions: the environment, the limits and what has been used of them.
pub struct Session {
    pub(crate) environment: Rc<dyn Environment>,
    pub(crate) limits: Limits,
    pub(crate) host: Rc<dyn Any>,
}

impl Session {
    /// A session with this environment and these limits.
    pub fn new(environment: impl Environment + 'static, limits: Limits) -> Self {
        Self {
            environment: Rc::new(environment),
            limits,
            host: Rc::new(()),
        }
    }

    /// Attaches data of the host, which its functions find with [`Context::host`].
    pub fn with_host(mut self, host: impl Any) -> Self {
        self.host = Rc::new(host);
        self
    }
}

/// What a function sees of the execution that called it.
pub struct Context<'a> {
    pub(crate) templates: &'a Templates,
    pub(crate) session: &'a mut Session,
}

impl Context<'_> {
    /// The set being executed. Inside a [derived](Templates::parse) set, that one.
    pub fn templates(&self) -> &Templates {
        self.templates
    }

    /// Executes a template of the set (`include`).
    pub fn execute(&mut self, name: &str, data: Value) -> Result<Str, Error> {
        let templates = self.templates;
        self.execute_in(templates, name, data)
    }

    /// Executes a template of another set, usually one derived from [`Context::templates`] (`tpl`).
    pub fn execute_in(
        &mut self,
        templates: &Templates,
        name: &str,
        data: Value,
    ) -> Result<Str, Error> {
        templates.execute(self.session, name, data).map(Str::from)
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

    /// Counts memory about to be made against [`Limits::allocation`]. Functions whose result may be much larger than their
    /// arguments (`repeat`, `until`) call this first.
    pub fn charge(&mut self, bytes: usize) -> Result<(), CallError> {
        if bytes as u64 > self.session.limits.allocation {
            return Err(CallError::limit("the values made exceed the limit"));
        }
        Ok(())
    }
}
