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
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era.wrapping_mul(146_097).wrapping_add(day_of_era) - 719_468;
        days.wrapping_mul(DAY)
            .wrapping_add(i64::from(self.hour) * 3_600)
            .wrapping_add(i64::from(self.minute) * 60)
            .wrapping_add(i64::from(self.second))
    }

    /// The day of the year, 1 to 366.
    pub fn year_day(self) -> u32 {
        let first = Self {
            month: 1,
            day: 1,
            ..self
        };
        ((self.seconds() - first.seconds()) / DAY) as u32 + 1
    }

    /// The day of the week; Sunday is 0.
    pub fn weekday(self) -> u32 {
        // 1970-01-01 was a Thursday.
        (self.seconds().div_euclid(DAY) + 4).rem_euclid(7) as u32
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
