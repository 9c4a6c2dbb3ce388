//! Times of RFC 3339, parsed as by Go's `time.Parse` and formatted in UTC.

/// A time in UTC.
pub(super) struct Time {
    date: Date,
    second_of_day: i64,
    nanos: u32,
    /// Whether it is a `MicroTime`, which has exactly six decimal places.
    micro: bool,
}

impl Time {
    /// Parses a time; `None` if Go cannot parse it.
    pub(super) fn parse(text: &str, micro: bool) -> Option<Self> {
        let mut rest = Rest(text.as_bytes());
        let year = i32::from(rest.two()?) * 100 + i32::from(rest.two()?);
        rest.literal(b'-')?;
        let month = rest.two().filter(|month| (1..=12).contains(month))?;
        rest.literal(b'-')?;
        let day = rest.two()?;
        let mut date = Date { year, month, day };
        if day < 1 || day > date.days_of_month() {
            return None;
        }
        rest.literal(b'T')?;
        let hour = rest.hour().filter(|hour| *hour < 24)?;
        rest.literal(b':')?;
        let minute = rest.two().filter(|minute| *minute < 60)?;
        rest.literal(b':')?;
        let second = rest.two().filter(|second| *second < 60)?;
        let nanos = if micro {
            rest.micros()? * 1_000
        } else {
            rest.fraction()
        };
        let offset = rest.zone()?;
        let clock = i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
        let clock = clock - offset;
        date.shift(clock.div_euclid(86_400));
        Some(Self {
            date,
            second_of_day: clock.rem_euclid(86_400),
            nanos,
            micro,
        })
    }

    /// The time as Go formats it; `None` for the zero time, which is written as null.
    pub(super) fn written(&self) -> Option<String> {
        let Date { year, month, day } = self.date;
        if (year, month, day, self.second_of_day, self.nanos) == (1, 1, 1, 0, 0) {
            return None;
        }
        // For Rust a sign counts towards the width, for Go it does not.
        let width = if year < 0 { 5 } else { 4 };
        let (hour, minute) = (self.second_of_day / 3_600, self.second_of_day / 60 % 60);
        let second = self.second_of_day % 60;
        let fraction = if self.micro {
            format!(".{:06}", self.nanos / 1_000)
        } else {
            String::new()
        };
        Some(format!(
            "{year:0width$}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"
        ))
    }
}

#[derive(Clone, Copy)]
struct Date {
    year: i32,
    month: u8,
    day: u8,
}

impl Date {
    fn days_of_month(self) -> u8 {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// Shifts the date by a few days, as a time zone may require.
    fn shift(&mut self, days: i64) {
        for _ in 0..days {
            self.day += 1;
            if self.day > self.days_of_month() {
                (self.month, self.day) = (self.month + 1, 1);
            }
            if self.month > 12 {
                (self.year, self.month) = (self.year + 1, 1);
            }
        }
        for _ in days..0 {
            if self.day > 1 {
                self.day -= 1;
                continue;
            }
            self.month -= 1;
            if self.month < 1 {
                (self.year, self.month) = (self.year - 1, 12);
            }
            self.day = self.days_of_month();
        }
    }
}

/// The rest of the text.
struct Rest<'t>(&'t [u8]);

impl Rest<'_> {
    fn digit(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        let digit = first.is_ascii_digit().then(|| first - b'0')?;
        self.0 = rest;
        Some(digit)
    }

    fn literal(&mut self, wanted: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        (*first == wanted).then_some(())
    }

    fn two(&mut self) -> Option<u8> {
        Some(self.digit()? * 10 + self.digit()?)
    }

    /// Go accepts an hour of one digit.
    fn hour(&mut self) -> Option<u8> {
        let first = self.digit()?;
        Some(self.digit().map_or(first, |second| first * 10 + second))
    }

    /// The nanoseconds of a fraction, if there is one; further digits are ignored.
    fn fraction(&mut self) -> u32 {
        if !matches!(self.0, [b'.' | b',', b'0'..=b'9', ..]) {
            return 0;
        }
        self.0 = &self.0[1..];
        let mut nanos = 0;
        let mut weight = 100_000_000;
        while let Some(digit) = self.digit() {
            nanos += u32::from(digit) * weight;
            weight /= 10;
        }
        nanos
    }

    /// The six digits of a micro time. Go parses them as a number, which may have a sign.
    fn micros(&mut self) -> Option<u32> {
        let [b'.' | b',', six @ ..] = self.0 else {
            return None;
        };
        let (six, rest) = six.split_at_checked(6)?;
        self.0 = rest;
        let (sign, digits) = match six {
            [sign @ (b'+' | b'-'), digits @ ..] => (*sign, digits),
            digits => (b'+', digits),
        };
        let micros = digits.iter().try_fold(0, |micros, digit| {
            let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
            Some(micros * 10 + u32::from(digit))
        })?;
        (sign == b'+' || micros == 0).then_some(micros)
    }

    /// The offset from UTC in seconds, at the end of the text.
    fn zone(&mut self) -> Option<i64> {
        let sign = match self.0 {
            b"Z" => return Some(0),
            [b'+', ..] => 1,
            [b'-', ..] => -1,
            _ => return None,
        };
        self.0 = &self.0[1..];
        // Go accepts offsets of 24 hours and of 60 minutes.
        let hours = self.two().filter(|hours| *hours <= 24)?;
        self.literal(b':')?;
        let minutes = self.two().filter(|minutes| *minutes <= 60)?;
        let seconds = i64::from(hours) * 3_600 + i64::from(minutes) * 60;
        self.0.is_empty().then_some(sign * seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn times_are_read_as_go_reads_them() {
        for (text, micro, want) in [
            ("2026-07-01T12:30:45Z", false, Some("2026-07-01T12:30:45Z")),
            (
                "2026-07-01T2:30:45,5+02:00",
                false,
                Some("2026-07-01T00:30:45Z"),
            ),
            ("2000-02-29T00:00:00Z", false, Some("2000-02-29T00:00:00Z")),
            (
                "2024-02-28T23:59:59-24:60",
                false,
                Some("2024-03-01T00:59:59Z"),
            ),
            (
                "0000-01-01T00:00:00+01:00",
                false,
                Some("-0001-12-31T23:00:00Z"),
            ),
            (
                "9999-12-31T23:00:00-01:00",
                false,
                Some("10000-01-01T00:00:00Z"),
            ),
            (
                "2026-07-01T12:30:45.000001+01:00",
                true,
                Some("2026-07-01T11:30:45.000001Z"),
            ),
            (
                "0001-01-01T00:00:00.000001Z",
                true,
                Some("0001-01-01T00:00:00.000001Z"),
            ),
            ("0001-01-01T00:00:00Z", false, None),
            ("0001-01-01T00:00:00.000000Z", true, None),
        ] {
            let time = Time::parse(text, micro).expect(text);
            assert_eq!(time.written().as_deref(), want, "{text}");
        }
        for (text, micro) in [
            ("", false),
            ("2026-00-10T00:00:00Z", false),
            ("2026-13-10T00:00:00Z", false),
            ("2026/07-01T00:00:00Z", false),
            ("2026-07/01T00:00:00Z", false),
            ("2026-02-29T00:00:00Z", false),
            ("1900-02-29T00:00:00Z", false),
            ("2026-07-01 00:00:00Z", false),
            ("2026-07-01T24:00:00Z", false),
            ("2026-07-01T00:00:60Z", false),
            ("2026-07-01T00:00:00", false),
            ("2026-07-01T00:00:00Z ", false),
            ("2026-07-01T00:00:00+0200", false),
            ("2026-07-01T00:00:00Z", true),
            ("2026-07-01T00:00:00.1234567Z", true),
        ] {
            assert!(Time::parse(text, micro).is_none(), "{text}");
        }
    }
}
