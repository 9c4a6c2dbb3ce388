//! Conversion between seconds and dates in the proleptic Gregorian calendar, for any 64-bit second.

const DAY: i64 = 86_400;

/// The first of March of the year -292277022400, where Go's count begins.
const FIRST_SECOND: i64 = -(730_692_556 * 146_097 + 719_468) * DAY;

/// A date and time of day without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// The year, which may be zero or negative.
    pub year: i64,
    /// 1 to 12
    pub month: u32,
    /// 1 to 31
    pub day: u32,
    /// 0 to 23
    pub hour: u32,
    /// 0 to 59
    pub minute: u32,
    /// 0 to 59
    pub second: u32,
}

impl Civil {
    /// The date this many seconds after 1970-01-01T00:00:00.
    pub fn of_seconds(seconds: i64) -> Self {
        let mut days = seconds.div_euclid(DAY);
        let mut rest = seconds.rem_euclid(DAY) as u32;
        if seconds < FIRST_SECOND {
            // Go counts unsigned seconds from there, so that earlier times wrap around to the end.
            let wrapped = i128::from(seconds) + (1 << 64);
            days = wrapped.div_euclid(i128::from(DAY)) as i64;
            rest = wrapped.rem_euclid(i128::from(DAY)) as u32;
        }
        // Years begin in March here, so that the leap day is the last.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        } as u32;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year,
            month,
            day,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    /// Seconds since 1970-01-01T00:00:00. Days beyond the end of the month overflow into the next, as in `time.Date`.
    pub fn seconds(self) -> i64 {
        self.days()
            .wrapping_mul(DAY)
            .wrapping_add(i64::from(self.hour) * 3_600)
            .wrapping_add(i64::from(self.minute) * 60)
            .wrapping_add(i64::from(self.second))
    }

    /// Days since 1970-01-01.
    fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era.wrapping_mul(146_097)
            .wrapping_add(day_of_era)
            .wrapping_sub(719_468)
    }

    /// The day of the year, 1 to 366.
    pub fn year_day(self) -> u32 {
        let first = Self {
            month: 1,
            day: 1,
            ..self
        };
        self.days().wrapping_sub(first.days()) as u32 + 1
    }

    /// The day of the week; Sunday is 0.
    pub fn weekday(self) -> u32 {
        // 1970-01-01 was a Thursday.
        self.days().wrapping_add(4).rem_euclid(7) as u32
    }

    /// The number of days of a month.
    pub const fn days_in(year: i64, month: u32) -> u32 {
        match month {
            4 | 6 | 9 | 11 => 30,
            2 if year.rem_euclid(4) == 0
                && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) =>
            {
                29
            }
            2 => 28,
            _ => 31,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::format;

    /// What Go's `time.Unix(seconds, 0).UTC()` gives: `seconds` of a date at the ends of the range wraps around, its days
    /// do not.
    #[test]
    fn dates_at_the_ends_of_the_range() {
        for (seconds, want) in [
            (i64::MAX, "Sun 339 292277026596-12-04 15:30:07"),
            (i64::MIN, "Sun 339 292277026596-12-04 15:30:08"),
            (i64::MIN + 1, "Sun 339 292277026596-12-04 15:30:09"),
            (i64::MIN + 31_000, "Mon 340 292277026596-12-05 00:06:48"),
            (
                9_223_372_036_846_135_807,
                "Fri 239 292277026596-08-26 15:30:07",
            ),
            (1 << 62, "Tue 170 146138514283-06-19 07:45:04"),
            (-(1 << 62), "Fri 196 -146138510344-07-14 16:14:56"),
            (
                -9_223_371_966_579_724_800,
                "Thu 001 -292277020430-01-01 00:00:00",
            ),
            (
                -9_223_371_966_562_444_800,
                "Mon 201 -292277020430-07-20 00:00:00",
            ),
            (-62_135_596_801, "Sun 366 0000-12-31 23:59:59"),
            (0, "Thu 001 1970-01-01 00:00:00"),
        ] {
            let text = format(b"Mon 002 2006-01-02 15:04:05", seconds, 0, 0, "UTC");
            assert_eq!(String::from_utf8_lossy(&text), want, "{seconds}");
        }
    }
}
