//! Go's `fmt`: `Sprint`, `Sprintln`, `Sprintf` over [`Value`]s.

mod flags;
mod printer;
mod scan;

use std::rc::Rc;

use printer::Printer;
pub(crate) use printer::method_text;

use crate::error::CallError;
use crate::value::{Object, Str, Value};

/// `fmt.Sprint`
///
/// # Errors
/// A value is nested too deeply to print.
pub fn sprint(args: &[Value]) -> Result<Str, CallError> {
    if let [Value::Str(s)] = args {
        return Ok(s.clone());
    }
    let mut out = Vec::new();
    print(&mut out, args)?;
    Ok(out.into())
}

/// `fmt.Fprint`: writes blanks between operands if neither is a string.
///
/// # Errors
/// A value is nested too deeply to print.
pub fn print(out: &mut Vec<u8>, args: &[Value]) -> Result<(), CallError> {
    let mut printer = Printer::new(out);
    let mut after_string = true;
    for arg in args {
        let is_string = matches!(arg, Value::Str(_));
        if !is_string && !after_string {
            printer.out.push(b' ');
        }
        printer.arg(arg, 'v');
        after_string = is_string;
    }
    printer.finish()
}

/// Prints a struct or the target of a pointer as a template does.
pub(crate) fn print_object(out: &mut Vec<u8>, object: &Rc<dyn Object>) -> Result<(), CallError> {
    if let Some(text) = object.addressed_text() {
        out.extend_from_slice(&text);
        return Ok(());
    }
    let mut printer = Printer::new(out);
    printer.fields(&**object, 'v', 0);
    printer.finish()
}

/// `fmt.Sprintln`
pub(crate) fn sprintln(args: &[Value]) -> Result<Str, CallError> {
    let mut out = Vec::new();
    let mut printer = Printer::new(&mut out);
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            printer.out.push(b' ');
        }
        printer.arg(arg, 'v');
    }
    printer.out.push(b'\n');
    printer.finish()?;
    Ok(out.into())
}

/// `fmt.Sprintf`
pub(crate) fn sprintf(format: &[u8], args: &[Value]) -> Result<Str, CallError> {
    let mut out = Vec::with_capacity(format.len() + 16);
    let mut printer = Printer::new(&mut out);
    scan::format(&mut printer, format, args);
    printer.finish()?;
    Ok(out.into())
}

/// `%v` of one value, in an error text.
pub fn text(value: &Value) -> String {
    text_as(value, 'v')
}

/// One value formatted with `verb`, in an error text.
pub(crate) fn text_as(value: &Value, verb: char) -> String {
    let mut out = Vec::new();
    let mut printer = Printer::new(&mut out);
    printer.arg(value, verb);
    // A value that is nested too deeply is truncated: this is an error text already.
    String::from_utf8_lossy(&out).into_owned()
}
