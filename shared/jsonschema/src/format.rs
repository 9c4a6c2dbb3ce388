//! The `format` keyword, with the messages of Helm's validator (HE-SCHEMA-002).

use flux_golang::regexp::Regex;
use flux_golang::strconv::quote;

use super::address::{ipv4, ipv6, url, url_template};

/// The formats that Helm's validator checks, besides `regex`, which it checks separately. Other formats are ignored.
pub(super) const KNOWN: [&str; 18] = [
    "json-pointer",
    "relative-json-pointer",
    "uuid",
    "duration",
    "period",
    "ipv4",
    "ipv6",
    "hostname",
    "email",
    "date",
    "time",
    "date-time",
    "uri",
    "iri",
    "uri-reference",
    "iri-reference",
    "uri-template",
    "semver",
];

pub(super) type Checked = Result<(), String>;

pub(super) fn fault<T>(text: impl Into<String>) -> Result<T, String> {
    Err(text.into())
}

/// Checks a text against a format.
pub(super) fn check(format: &str, text: &str) -> Checked {
    match format {
        "json-pointer" => json_pointer(text),
        "relative-json-pointer" => relative_json_pointer(text),
        "uuid" => uuid(text),
        "duration" => duration(text),
        "period" => period(text),
        "ipv4" => ipv4(text),
        "ipv6" => ipv6(text),
        "hostname" => hostname(text),
        "email" => email(text),
        "date" => date(text),
        "time" => time(text),
        "date-time" => date_time(text),
        "uri" | "iri" => {
            if url(text)?.scheme.is_empty() {
                fault("relative url")
            } else {
                Ok(())
            }
        }
        "uri-reference" | "iri-reference" if text.contains('\\') => fault("contains \\"),
        "uri-reference" | "iri-reference" => url(text).map(drop),
        "uri-template" => url_template(text),
        "semver" => semver(text),
        _ => Ok(()),
    }
}

/// Checks that a text is a regular expression.
pub(super) fn regex(text: &str) -> Checked {
    Regex::cached(text.as_bytes())
        .map(drop)
        .map_err(|error| error.to_string())
}

/// A character in the format of Go's `%q`.
fn quoted(c: char) -> String {
    match c {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => {
            let text = quote(c.to_string());
            format!("'{}'", text.trim_matches('"'))
        }
    }
}

pub(super) fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn json_pointer(text: &str) -> Checked {
    if text.is_empty() {
        return Ok(());
    }
    let Some(rest) = text.strip_prefix('/') else {
        return fault("not starting with /");
    };
    for token in rest.split('/') {
        let mut tildes = token.split('~').skip(1);
        if tildes.any(|after| !after.starts_with(['0', '1'])) {
            return fault("~ must be followed by 0 or 1");
        }
    }
    Ok(())
}

fn relative_json_pointer(text: &str) -> Checked {
    let count = digits(text);
    if count == 0 {
        return fault("must start with non-negative integer");
    }
    if count > 1 && text.starts_with('0') {
        return fault("starts with zero");
    }
    match text.get(count..).unwrap_or_default() {
        "#" => Ok(()),
        rest => json_pointer(rest),
    }
}

fn uuid(text: &str) -> Checked {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let groups: Vec<_> = text.split('-').collect();
    if groups.len() != GROUPS.len() {
        return fault("must have 5 elements");
    }
    for (i, (group, length)) in groups.iter().zip(GROUPS).enumerate() {
        if group.len() != length {
            return fault(format!(
                "element {} must be {length} characters long",
                i + 1
            ));
        }
        if let Some(c) = group.chars().find(|c| !c.is_ascii_hexdigit()) {
            return fault(format!("non-hex character {}", quoted(c)));
        }
    }
    Ok(())
}

fn duration(text: &str) -> Checked {
    let Some(text) = text.strip_prefix('P') else {
        return fault("must start with P");
    };
    if text.is_empty() {
        return fault("nothing after P");
    }
    if let Some(weeks) = text.strip_suffix('W') {
        return match digits(weeks) {
            0 if weeks.is_empty() => fault("no number in week"),
            count if count < weeks.len() => fault("invalid week"),
            _ => Ok(()),
        };
    }
    for (i, mut part) in text.split('T').enumerate() {
        if i != 0 && part.is_empty() {
            return fault("no time elements");
        }
        let Some(all) = ["YMD", "HMS"].get(i) else {
            return fault("more than one T");
        };
        let mut units = *all;
        while !part.is_empty() {
            let count = digits(part);
            if count == 0 {
                return fault("missing number");
            }
            let mut rest = part.get(count..).unwrap_or_default().chars();
            let Some(unit) = rest.next() else {
                return fault("missing unit");
            };
            let Some((_, after)) = units.split_once(unit) else {
                // Go inspects a single byte here.
                let byte = unit.to_string().bytes().next().unwrap_or_default();
                let shown = quoted(char::from(byte));
                return fault(if all.contains(unit) {
                    format!("unit {shown} out of order")
                } else {
                    format!("invalid unit {shown}")
                });
            };
            (units, part) = (after, rest.as_str());
        }
    }
    Ok(())
}

fn period(text: &str) -> Checked {
    let Some((start, end)) = text.split_once('/') else {
        return fault("missing slash");
    };
    let duration =
        |text, which: &str| duration(text).map_err(|e| format!("invalid {which} duration: {e}"));
    let date_time =
        |text, which: &str| date_time(text).map_err(|e| format!("invalid {which} date-time: {e}"));
    if start.starts_with('P') {
        duration(start, "start")?;
        return date_time(end, "end");
    }
    date_time(start, "start")?;
    if end.starts_with('P') {
        return duration(end, "end");
    }
    date_time(end, "end")
}

/// Go's `strconv.Atoi`.
pub(super) fn atoi(text: &str) -> Result<i64, String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.is_empty() || digits(unsigned) < unsigned.len() {
        return fault(format!(
            "strconv.Atoi: parsing {}: invalid syntax",
            quote(text)
        ));
    }
    text.parse()
        .map_err(|_| format!("strconv.Atoi: parsing {}: value out of range", quote(text)))
}

fn hostname(text: &str) -> Checked {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.len() > 253 {
        return fault("more than 253 characters long");
    }
    for label in text.split('.') {
        if label.is_empty() || label.len() > 63 {
            return fault("label must be 1 to 63 characters long");
        }
        if label.starts_with('-') {
            return fault("label starts with hyphen");
        }
        if label.ends_with('-') {
            return fault("label ends with hyphen");
        }
        if let Some(c) = label
            .chars()
            .find(|c| !c.is_ascii_alphanumeric() && *c != '-')
        {
            return fault(format!("invalid character {}", quoted(c)));
        }
    }
    Ok(())
}

fn email(text: &str) -> Checked {
    if text.len() > 254 {
        return fault("more than 255 characters long");
    }
    let Some((local, domain)) = text.rsplit_once('@') else {
        return fault("missing @");
    };
    if local.len() > 64 {
        return fault("local part more than 64 characters long");
    }
    if local.len() > 1 && local.starts_with('"') && local.ends_with('"') {
        let mut inner = local.chars();
        let _ = (inner.next(), inner.next_back());
        if inner.as_str().contains(['\\', '"']) {
            return fault("backslash and quote are not allowed within quoted local part");
        }
    } else {
        unquoted_local(local)?;
    }
    if let Some(address) = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')) {
        return match address.strip_prefix("IPv6:") {
            Some(address) => ipv6(address).map_err(|e| format!("invalid ipv6 address: {e}")),
            None => ipv4(address).map_err(|e| format!("invalid ipv4 address: {e}")),
        };
    }
    hostname(domain).map_err(|e| format!("invalid domain: {e}"))
}

fn unquoted_local(local: &str) -> Checked {
    if local.starts_with('.') {
        return fault("starts with dot");
    }
    if local.ends_with('.') {
        return fault("ends with dot");
    }
    if local.contains("..") {
        return fault("consecutive dots");
    }
    let allowed = |c: &char| c.is_ascii_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(*c);
    match local.chars().find(|c| !allowed(c)) {
        Some(c) => fault(format!("invalid character {}", quoted(c))),
        None => Ok(()),
    }
}

/// Go's `time.Parse` of a date.
fn date(text: &str) -> Checked {
    let shown = time_quote(text);
    let wrong = |at: &str, want: &str| {
        fault(format!(
            "parsing time {shown} as \"2006-01-02\": cannot parse {} as \"{want}\"",
            time_quote(at)
        ))
    };
    let number = |text: &str, length: usize| {
        text.get(..length)
            .filter(|part| digits(part) == length)
            .and_then(|part| part.parse::<i16>().ok())
    };
    let after = |text: &'_ str, length: usize| text.get(length..).unwrap_or_default().to_owned();
    let Some(year) = number(text, 4) else {
        return wrong(text, "2006");
    };
    let rest = after(text, 4);
    let Some(rest) = rest.strip_prefix('-') else {
        return wrong(&rest, "-");
    };
    let Some(month) = number(rest, 2) else {
        return wrong(rest, "01");
    };
    if !(1..=12).contains(&month) {
        return fault(format!("parsing time {shown}: month out of range"));
    }
    let rest = after(rest, 2);
    let Some(rest) = rest.strip_prefix('-') else {
        return wrong(&rest, "-");
    };
    let Some(day) = number(rest, 2) else {
        return wrong(rest, "02");
    };
    let rest = after(rest, 2);
    if !rest.is_empty() {
        let rest = time_quote(&rest);
        return fault(format!("parsing time {shown}: extra text: {rest}"));
    }
    let (month, day) = (i8::try_from(month), i8::try_from(day));
    let valid = month
        .is_ok_and(|month| day.is_ok_and(|day| jiff::civil::Date::new(year, month, day).is_ok()));
    if valid {
        Ok(())
    } else {
        fault(format!("parsing time {shown}: day out of range"))
    }
}

/// Quotes as Go's `time` package does.
fn time_quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='\x7f' => quoted.push(c),
            c => {
                for byte in c.to_string().bytes() {
                    quoted.push_str(&format!("\\x{byte:02x}"));
                }
            }
        }
    }
    quoted.push('"');
    quoted
}

fn time(text: &str) -> Checked {
    if text.len() < 9 {
        return fault("less than 9 characters long");
    }
    let bytes = text.as_bytes();
    if bytes.get(2) != Some(&b':') || bytes.get(5) != Some(&b':') {
        return fault("missing colon in correct place");
    }
    let (Some(clock), Some(mut rest)) = (text.get(..8), text.get(8..)) else {
        return fault("invalid hour/min/sec");
    };
    let mut numbers = [0; 3];
    for (number, part) in numbers.iter_mut().zip(clock.splitn(3, ':')) {
        *number = atoi(part).or_else(|_| fault("invalid hour/min/sec"))?;
        if *number < 0 {
            return fault("non-positive hour/min/sec");
        }
    }
    let [mut hour, mut minute, second] = numbers;
    if hour > 23 || minute > 59 || second > 60 {
        return fault("hour/min/sec out of range");
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = digits(fraction);
        if count == 0 {
            return fault("no digits in second fraction");
        }
        rest = fraction.get(count..).unwrap_or_default();
    }
    if !matches!(rest, "z" | "Z") {
        let total = hour * 60 + minute + offset(rest)?;
        let total = if total < 0 { total + 24 * 60 } else { total };
        (hour, minute) = (total / 60, total % 60);
    }
    if second >= 60 && (hour != 23 || minute != 59) {
        return fault("invalid leap second");
    }
    Ok(())
}

/// The minutes to add to get UTC.
fn offset(text: &str) -> Result<i64, String> {
    if text.len() != 6 {
        return fault("offset must be 6 characters long");
    }
    let (sign, rest) = match text.as_bytes().first() {
        Some(b'+') => (-1, text.get(1..)),
        Some(b'-') => (1, text.get(1..)),
        _ => return fault("offset must begin with plus/minus"),
    };
    let rest = rest.unwrap_or_default();
    if rest.as_bytes().get(2) != Some(&b':') {
        return fault("missing colon in offset in correct place");
    }
    let mut numbers = [0; 2];
    for (number, part) in numbers.iter_mut().zip(rest.splitn(2, ':')) {
        *number = atoi(part).or_else(|_| fault("invalid hour/min in offset"))?;
        if *number < 0 {
            return fault("non-positive hour/min in offset");
        }
    }
    let [hour, minute] = numbers;
    if hour > 23 || minute > 59 {
        return fault("hour/min in offset out of range");
    }
    Ok(sign * (hour * 60 + minute))
}

fn date_time(text: &str) -> Checked {
    if text.len() < 20 {
        return fault("less than 20 characters long");
    }
    if !matches!(text.as_bytes().get(10), Some(b't' | b'T')) {
        return fault("11th character must be t or T");
    }
    let (day, clock) = (text.get(..10), text.get(11..));
    date(day.unwrap_or_default()).map_err(|e| format!("invalid date element: {e}"))?;
    time(clock.unwrap_or_default()).map_err(|e| format!("invalid time element: {e}"))
}

fn semver(text: &str) -> Checked {
    let identifier = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let (text, build) = match text.split_once('+') {
        Some((_, "")) => return fault("build is empty"),
        Some((text, build)) => (text, Some(build)),
        None => (text, None),
    };
    for part in build.into_iter().flat_map(|build| build.split('.')) {
        if part.is_empty() {
            return fault("build identifier is empty");
        }
        if let Some(c) = part.chars().find(|c| !identifier(c)) {
            return fault(format!(
                "invalid character {} in build identifier",
                quoted(c)
            ));
        }
    }
    let (core, pre) = match text.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (text, None),
    };
    for part in pre.into_iter().flat_map(|pre| pre.split('.')) {
        if part.is_empty() {
            return fault("pre-release identifier is empty");
        }
        if let Some(c) = part.chars().find(|c| !identifier(c)) {
            let c = quoted(c);
            return fault(format!("invalid character {c} in pre-release identifier"));
        }
        if digits(part) == part.len() && part.len() > 1 && part.starts_with('0') {
            return fault("pre-release numeric identifier starts with zero");
        }
    }
    let numbers: Vec<_> = core.split('.').collect();
    if numbers.len() != 3 {
        return fault("versionCore must have 3 numbers separated by dot");
    }
    for (number, name) in numbers.into_iter().zip(["major", "minor", "patch"]) {
        if number.is_empty() {
            return fault(format!("{name} is empty"));
        }
        if number.len() > 1 && number.starts_with('0') {
            return fault(format!("{name} starts with zero"));
        }
        if digits(number) < number.len() {
            return fault(format!("{name} contains non-digit"));
        }
    }
    Ok(())
}
