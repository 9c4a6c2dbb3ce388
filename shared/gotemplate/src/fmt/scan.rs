//! Parsing of the format string of `Sprintf`.

use flux_golang::unicode;

use super::flags::Flags;
use super::printer::Printer;
use crate::value::Value;

/// Larger widths and precisions are treated as errors.
const TOO_LARGE: i64 = 1_000_000;

struct Scanner<'a> {
    format: &'a [u8],
    args: &'a [Value],
    at: usize,
    next_arg: usize,
    reordered: bool,
    good_index: bool,
}

pub(super) fn format(printer: &mut Printer<'_>, format: &[u8], args: &[Value]) {
    let mut scanner = Scanner {
        format,
        args,
        at: 0,
        next_arg: 0,
        reordered: false,
        good_index: true,
    };
    while scanner.at < format.len() {
        let rest = format.get(scanner.at..).unwrap_or_default();
        let literal = memchr::memchr(b'%', rest).unwrap_or(rest.len());
        printer
            .out
            .extend_from_slice(rest.get(..literal).unwrap_or_default());
        scanner.at += literal;
        if scanner.at < format.len() {
            scanner.at += 1;
            scanner.directive(printer);
        }
    }
    if !scanner.reordered {
        scanner.extra(printer);
    }
}

impl Scanner<'_> {
    fn byte(&self) -> Option<u8> {
        self.format.get(self.at).copied()
    }

    fn directive(&mut self, printer: &mut Printer<'_>) {
        self.good_index = true;
        printer.flags = Flags::default();
        self.simple_flags(&mut printer.flags);
        let mut after_index = self.argument_index();
        if self.byte() == Some(b'*') {
            self.at += 1;
            match self.int_argument() {
                Some(width) => {
                    printer.flags.width = Some(width.unsigned_abs() as usize);
                    if width < 0 {
                        printer.flags.minus = true;
                        printer.flags.zero = false;
                    }
                }
                None => printer.out.extend_from_slice(b"%!(BADWIDTH)"),
            }
            after_index = false;
        } else {
            printer.flags.width = self.number();
            if after_index && printer.flags.width.is_some() {
                self.good_index = false;
            }
        }
        if self.at + 1 < self.format.len() && self.byte() == Some(b'.') {
            self.at += 1;
            if after_index {
                self.good_index = false;
            }
            after_index = self.argument_index();
            if self.byte() == Some(b'*') {
                self.at += 1;
                let precision = self.int_argument().filter(|&n| n >= 0);
                printer.flags.precision = precision.map(|n| n as usize);
                if precision.is_none() {
                    printer.out.extend_from_slice(b"%!(BADPREC)");
                }
                after_index = false;
            } else {
                printer.flags.precision = Some(self.number().unwrap_or(0));
            }
        }
        if !after_index {
            self.argument_index();
        }
        self.verb(printer);
    }

    fn simple_flags(&mut self, flags: &mut Flags) {
        while let Some(b) = self.byte() {
            match b {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => return,
            }
            self.at += 1;
        }
    }

    fn verb(&mut self, printer: &mut Printer<'_>) {
        let (verb, width) = unicode::decode(self.format.get(self.at..).unwrap_or_default());
        if width == 0 {
            printer.out.extend_from_slice(b"%!(NOVERB)");
            return;
        }
        self.at += width;
        if verb == '%' {
            printer.out.push(b'%');
            return;
        }
        let problem = if !self.good_index {
            Some("(BADINDEX)")
        } else if self.next_arg >= self.args.len() {
            Some("(MISSING)")
        } else {
            None
        };
        if let Some(problem) = problem {
            printer.out.extend_from_slice(b"%!");
            unicode::push(printer.out, verb);
            printer.out.extend_from_slice(problem.as_bytes());
            return;
        }
        if matches!(verb, 'v' | 'w') {
            let flags = &mut printer.flags;
            flags.sharp_v = std::mem::take(&mut flags.sharp);
            flags.plus_v = std::mem::take(&mut flags.plus);
        }
        if let Some(arg) = self.args.get(self.next_arg) {
            printer.arg(arg, verb);
        }
        self.next_arg += 1;
    }

    /// Parses decimal digits. A number that is too large swallows the rest of the format, as in Go.
    fn number(&mut self) -> Option<usize> {
        let mut n: Option<i64> = None;
        while let Some(b @ b'0'..=b'9') = self.byte() {
            let so_far = n.unwrap_or(0);
            if so_far > TOO_LARGE {
                self.at = self.format.len();
                return None;
            }
            n = Some(so_far * 10 + i64::from(b - b'0'));
            self.at += 1;
        }
        n.map(|n| n as usize)
    }

    /// The value of the next argument, for `*`.
    fn int_argument(&mut self) -> Option<i64> {
        let arg = self.args.get(self.next_arg)?;
        self.next_arg += 1;
        let n = match arg {
            Value::Int(_, n) => *n,
            Value::Uint(_, n) => i64::try_from(*n).ok()?,
            _ => return None,
        };
        (-TOO_LARGE..=TOO_LARGE).contains(&n).then_some(n)
    }

    /// Parses `[n]`; returns whether it was well-formed.
    fn argument_index(&mut self) -> bool {
        if self.byte() != Some(b'[') {
            return false;
        }
        self.reordered = true;
        let rest = self.format.get(self.at..).unwrap_or_default();
        let close = memchr::memchr(b']', rest).filter(|_| rest.len() >= 3);
        let Some(close) = close else {
            self.good_index = false;
            self.at += 1;
            return false;
        };
        let digits = rest.get(1..close).unwrap_or_default();
        let index = std::str::from_utf8(digits)
            .ok()
            .filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|d| d.parse::<usize>().ok())
            .filter(|&n| n <= TOO_LARGE as usize * 10 + 9);
        self.at += close + 1;
        match index {
            Some(n) if n >= 1 && n <= self.args.len() => {
                self.next_arg = n - 1;
                true
            }
            _ => {
                self.good_index = false;
                index.is_some()
            }
        }
    }

    fn extra(&self, printer: &mut Printer<'_>) {
        let Some(extra) = self.args.get(self.next_arg..).filter(|a| !a.is_empty()) else {
            return;
        };
        printer.flags = Flags::default();
        printer.out.extend_from_slice(b"%!(EXTRA ");
        for (i, arg) in extra.iter().enumerate() {
            if i > 0 {
                printer.out.extend_from_slice(b", ");
            }
            if matches!(arg, Value::Nil) {
                printer.out.extend_from_slice(b"<nil>");
            } else {
                printer.out.extend_from_slice(arg.type_name().as_bytes());
                printer.out.push(b'=');
                printer.arg(arg, 'v');
            }
        }
        printer.out.push(b')');
    }
}
