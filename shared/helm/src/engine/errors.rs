//! Template errors in Helm's format.

/// Marks around the message of `required` and `fail`, by which it is found in the whole text.
const START: &str = "HELM_ERR_START";
const END: &str = "HELM_ERR_END";

/// The marked message of `required` and `fail`, as it is passed through the template engine.
pub(super) fn marked(message: &str) -> String {
    format!("{START}{message}{END}")
}

/// HE-ENG-018
pub(super) fn parse_error(file: &str, text: &str) -> String {
    let parts: Vec<&str> = text.split(": ").collect();
    match parts.as_slice() {
        [_, location, .., last] => format!("parse error at ({location}): {last}"),
        [_, last] => format!("parse error at ({last}): {last}"),
        _ => format!("parse error in ({file}): {text}"),
    }
}

/// HE-ENG-019, HE-ENG-020
pub(super) fn execution_error(file: &str, text: &str) -> String {
    let mut parts = text.splitn(3, ": ");
    let (Some(_), Some(location), Some(message)) = (parts.next(), parts.next(), parts.next())
    else {
        return format!("execution error in ({file}): {text}");
    };
    if let Some(own) = between_marks(message) {
        return format!("execution error at ({location}): {own}");
    }
    // Each template error wraps its cause; a cause of any other kind makes Helm return the whole text unchanged.
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut current = Some(text);
    while let Some(error) = current {
        let Some(block) = Block::parse(error) else {
            return text.to_owned();
        };
        if blocks.last() != Some(&block) {
            blocks.push(block);
        }
        current = cause(error);
    }
    let lines: String = blocks.iter().map(Block::lines).collect();
    lines.trim().to_owned()
}

/// The text from the first mark to the last.
fn between_marks(text: &str) -> Option<&str> {
    let (_, after) = text.split_once(START)?;
    after.rsplit_once(END).map(|(message, _)| message)
}

/// The error returned by a function call, which this error wraps.
fn cause(error: &str) -> Option<&str> {
    let (_, message) = executing(error.strip_prefix("template: ")?)?;
    let called = message.strip_prefix("error calling ")?;
    called.split_once(": ").map(|(_, cause)| cause)
}

/// The parts of `location: executing "name" at <context>: message`.
fn executing(error: &str) -> Option<(Executing<'_>, &str)> {
    let (location, rest) = error.split_once(": executing ")?;
    let rest = rest.strip_prefix('"')?;
    let (name, rest) = rest.split_once('"')?;
    let (context, message) = rest.strip_prefix(" at <")?.split_once(">: ")?;
    Some((
        Executing {
            location,
            name,
            context,
        },
        message,
    ))
}

struct Executing<'t> {
    location: &'t str,
    name: &'t str,
    context: &'t str,
}

#[derive(PartialEq, Eq)]
struct Block<'t> {
    location: &'t str,
    executed: String,
    message: &'t str,
}

impl<'t> Block<'t> {
    fn parse(error: &'t str) -> Option<Self> {
        let rest = error.strip_prefix("template: ")?;
        if rest.starts_with("no template ") {
            return Some(Self {
                location: "",
                executed: String::new(),
                message: error,
            });
        }
        if rest.contains(": executing ") {
            let (at, message) = executing(rest)?;
            return Some(Self {
                location: at.location,
                executed: format!("executing \"{}\" at <{}>:", at.name, at.context),
                message: without_nested(message),
            });
        }
        let (location, message) = rest.rsplit_once(": ")?;
        Some(Self {
            location,
            executed: String::new(),
            message: without_nested(message),
        })
    }

    fn lines(&self) -> String {
        let mut lines = String::new();
        if !self.location.is_empty() {
            lines.push_str(self.location);
            lines.push_str("\n  ");
        }
        if !self.executed.is_empty() {
            lines.push_str(&self.executed);
            lines.push_str("\n    ");
        }
        if !self.message.is_empty() {
            lines.push_str(self.message);
            lines.push('\n');
        }
        lines
    }
}

fn without_nested(message: &str) -> &str {
    message
        .split_once(" template:")
        .map_or(message, |(own, _)| own)
}
