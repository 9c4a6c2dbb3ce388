//! Renders one chart repeatedly in a process of its own, with this crate and with Helm.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Instant;

use flux_gotemplate::{CallError, Environment, Time};
use flux_helm::{Chart, ParsedChart, RenderOptions, Rendered, Values};
use oracle::{Answer, Oracle};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::corpus::Sample;

/// The work that is repeated for each render.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything.
    Cold,
    /// Only the work that depends on the values.
    Cached,
}

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Cached => "cached",
        }
    }
}

/// The measurements of one side.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Duration of each render.
    nanoseconds: Vec<u64>,
    /// Processor time of all renders, in nanoseconds.
    processor: u64,
    /// Peak memory of the process, in bytes.
    pub peak: u64,
    /// Total bytes of all manifests and hooks.
    pub output: usize,
}

impl Figure {
    /// Duration of a render without disturbance from other processes: the upper bound of the fastest tenth.
    pub(crate) fn wall(&self) -> f64 {
        let mut times = self.nanoseconds.clone();
        times.sort_unstable();
        times.get(times.len() / 10).copied().unwrap_or_default() as f64 / 1e6
    }

    /// Peak memory in mebibytes.
    pub(crate) fn peak(&self) -> f64 {
        self.peak as f64 / f64::from(1 << 20)
    }

    /// Processor time of a render, of all threads together.
    pub(crate) fn processor(&self) -> f64 {
        self.processor as f64 / 1e6 / self.nanoseconds.len().max(1) as f64
    }
}

/// Rounds of measurements; in each round both sides take a turn.
const ROUNDS: usize = 5;
/// Duration of a turn, in nanoseconds.
const TURN: u64 = 250_000_000;
/// Maximum number of renders in a turn.
const RENDERS: usize = 100;

/// The figures of this crate and of Helm, the latter if Go is installed.
pub(crate) fn both(sample: &Sample, mode: Mode) -> Result<(Figure, Option<Figure>), String> {
    let mut ours = Worker::start(sample, mode)?;
    let mut go = Oracle::start("helm");
    let request = json!({"mode": "bench", "path": sample.archive, "cached": mode == Mode::Cached, "turn": TURN, "renders": RENDERS});
    let mut figures = (Figure::default(), None::<Figure>);
    for _ in 0..ROUNDS {
        figures.0.add(ours.turn()?);
        let Some(go) = &mut go else { continue };
        let theirs = match go.ask(&request) {
            Answer::Output(value) => serde_json::from_value(value).map_err(|e| e.to_string())?,
            Answer::Error(text) | Answer::Panic(text) => return Err(text),
        };
        figures.1.get_or_insert_default().add(theirs);
    }
    Ok(figures)
}

impl Figure {
    fn add(&mut self, turn: Self) {
        self.nanoseconds.extend(turn.nanoseconds);
        self.processor += turn.processor;
        self.peak = turn.peak;
        self.output = turn.output;
    }
}

/// A process of this program that renders one chart.
struct Worker {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start(sample: &Sample, mode: Mode) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut child = Command::new(program)
            .args(["--worker", mode.name()])
            .arg(&sample.archive)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())?;
        let answers = BufReader::new(child.stdout.take().ok_or("no output")?);
        Ok(Self { child, answers })
    }

    fn turn(&mut self) -> Result<Figure, String> {
        let mut input = self.child.stdin.as_ref().ok_or("no input")?;
        input.write_all(b"\n").map_err(|e| e.to_string())?;
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .map_err(|e| e.to_string())?;
        serde_json::from_str(&line).map_err(|e| format!("{e}: {line:?}"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The worker: takes a turn for each line of input.
pub(crate) fn work(arguments: &[String]) -> ExitCode {
    let [_, mode, archive, ..] = arguments else {
        return ExitCode::FAILURE;
    };
    let mut renderer = Renderer::new(archive, mode == Mode::Cached.name());
    for _ in std::io::stdin().lines() {
        match renderer.turn() {
            Ok(figure) => println!("{}", serde_json::to_string(&figure).unwrap_or_default()),
            Err(text) => {
                eprintln!("{archive}: {text}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

struct Renderer {
    archive: String,
    cached: bool,
    kept: Option<ParsedChart>,
    values: Values,
    options: RenderOptions,
}

impl Renderer {
    fn new(archive: &str, cached: bool) -> Self {
        let mut options = RenderOptions::new("rel", "apps");
        options.environment = Arc::new(Fixed);
        Self {
            archive: archive.to_owned(),
            cached,
            kept: None,
            values: Values::new(),
            options,
        }
    }

    fn turn(&mut self) -> Result<Figure, String> {
        let mut figure = Figure::default();
        if self.cached && self.kept.is_none() {
            self.kept = Some(ParsedChart::new(self.load()?));
            drop(self.render()?);
        }
        let (started, processor_before) = (Instant::now(), processor());
        while figure.nanoseconds.len() < RENDERS
            && (figure.nanoseconds.is_empty() || started.elapsed().as_nanos() < u128::from(TURN))
        {
            let before = Instant::now();
            let rendered = self.render()?;
            figure.nanoseconds.push(before.elapsed().as_nanos() as u64);
            let manifests = rendered.manifests.iter().map(|m| m.content.len());
            let hooks = rendered.hooks.iter().map(|h| h.manifest.len());
            figure.output = manifests.chain(hooks).sum();
        }
        figure.processor = processor() - processor_before;
        figure.peak = peak();
        Ok(figure)
    }

    fn load(&self) -> Result<Chart, String> {
        let bytes = fs::read(&self.archive).map_err(|e| e.to_string())?;
        Chart::from_archive(&bytes).map_err(|e| e.to_string())
    }

    fn render(&self) -> Result<Rendered, String> {
        let rendered = match &self.kept {
            Some(chart) => chart.render(&self.values, &self.options),
            None => flux_helm::render(&self.load()?, &self.values, &self.options),
        };
        rendered.map_err(|e| e.to_string())
    }
}

/// Processor time of this process in nanoseconds, at Linux's resolution of a hundredth of a second.
fn processor() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks * 10_000_000
}

/// Peak memory of this process in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() << 10
}

/// A clock that does not advance and random bytes that are constant.
struct Fixed;

impl Environment for Fixed {
    fn now(&self) -> Time {
        Time::unix(1_700_000_000, 0)
    }

    fn random(&self, buffer: &mut [u8]) -> Result<(), CallError> {
        for (i, byte) in buffer.iter_mut().enumerate() {
            *byte = (i as u8).wrapping_mul(37).wrapping_add(11);
        }
        Ok(())
    }
}
