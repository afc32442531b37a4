//! Dates and times of day in text: reading them, and what they say.
//!
//! The arithmetic of the calendar is Howard Hinnant's ("chrono-compatible low-level date algorithms", 2013): the year
//! begins in March, so that the leap day is its last.

/// A moment: seconds since 1970-01-01 00:00, by the clock that the text was written by; with a zone, of UTC.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Moment(pub f64);

/// What a calendar and a clock say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The year, proleptic Gregorian.
    pub year: i64,
    /// The month, from 1.
    pub month: u32,
    /// The day of the month, from 1.
    pub day: u32,
    /// The day of the week, 0 for Monday.
    pub weekday: u32,
    /// The day of the year, from 1.
    pub day_of_year: u32,
    /// The second of the day, from 0.
    pub second: u32,
}

/// Days since 1970-01-01.
fn days_of(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Moment {
    /// Midnight of a day.
    pub fn of_day(year: i64, month: u32, day: u32) -> Moment {
        Moment(days_of(year, month, day) as f64 * 86_400.0)
    }

    /// What calendar and clock say.
    pub fn civil(self) -> Civil {
        let seconds = self.0.floor() as i64;
        let days = seconds.div_euclid(86_400);
        let z = days + 719_468;
        let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march = (5 * of_year + 2) / 153;
        let month = (march + 2) % 12 + 1;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Civil {
            year,
            month: month as u32,
            day: (of_year - (153 * march + 2) / 5 + 1) as u32,
            // 1970-01-01 was a Thursday.
            weekday: (days + 3).rem_euclid(7) as u32,
            day_of_year: (days - days_of(year, 1, 1) + 1) as u32,
            second: seconds.rem_euclid(86_400) as u32,
        }
    }
}

/// How days are written, the likelier first; `%s` are seconds or milliseconds since 1970.
const DAYS: [&str; 15] = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d-%m-%Y",
    "%d-%b-%Y",
    "%d %b %Y",
    "%b %d, %Y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%Y%m%d",
    "%Y-%m",
    "%Y",
    "%s",
];

/// What may follow a day.
const TIMES: [&str; 6] = ["", " %H:%M:%S", " %H:%M", "T%H:%M:%S", "T%H:%M", " %I:%M %p"];

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// All formats that are tried when none is given, the likelier first.
pub fn formats() -> Vec<String> {
    let mut formats = Vec::new();
    for time in TIMES {
        for day in DAYS.iter().filter(|day| time.is_empty() || day.contains("%d")) {
            formats.push(format!("{day}{time}"));
        }
    }
    formats
}

/// What is wrong with a format; `None` if it can be read by.
pub fn format_problem(format: &str) -> Option<String> {
    let mut parts = format.chars();
    let mut seen = String::new();
    while let Some(c) = parts.next() {
        if c != '%' {
            continue;
        }
        match parts.next() {
            Some(c) if "YymdbBHIMSpzs%".contains(c) => seen.push(c),
            Some(c) => {
                return Some(format!("`%{c}` is none of %Y %y %m %d %b %H %I %M %S %p %z %s"));
            }
            None => return Some("`%` at the end".into()),
        }
    }
    (!seen.contains(['Y', 'y', 's'])).then(|| "a format without a year (%Y, %y or %s)".into())
}

/// Reads a moment by a format as of `strptime`; `None` when the text is not written so. Seconds may have a fraction, a time
/// may be followed by `Z` or an offset.
///
/// ```
/// use nerve_data::civil::read;
/// let moment = read("2024-02-29T13:30:00Z", "%Y-%m-%dT%H:%M:%S").unwrap();
/// assert_eq!(moment.civil().weekday, 3); // a Thursday
/// ```
pub fn read(text: &str, format: &str) -> Option<Moment> {
    let (mut year, mut month, mut day) = (None, 1, 1);
    let (mut hour, mut minute, mut seconds, mut offset) = (0, 0, 0.0, 0.0);
    let (mut afternoon, mut twelve, mut timed) = (false, false, false);
    let mut text = text.trim();
    let mut parts = format.chars();
    while let Some(c) = parts.next() {
        if c != '%' {
            text = text.strip_prefix(c)?;
            continue;
        }
        match parts.next()? {
            'Y' => year = Some(i64::from(digits(&mut text, 4, 4)?)),
            'y' => {
                // As POSIX has it.
                let short = i64::from(digits(&mut text, 2, 2)?);
                year = Some(if short < 69 { 2000 + short } else { 1900 + short });
            }
            'm' => month = digits(&mut text, 1, 2)?,
            'd' => day = digits(&mut text, 1, 2)?,
            'b' | 'B' => month = month_name(&mut text)?,
            'H' => (hour, timed) = (digits(&mut text, 1, 2)?, true),
            'I' => (hour, twelve, timed) = (digits(&mut text, 1, 2)?, true, true),
            'M' => minute = digits(&mut text, 2, 2)?,
            'S' => seconds = decimal(&mut text)?,
            'p' => {
                afternoon = matches!(text.get(..2)?, "PM" | "pm");
                (matches!(text.get(..2)?, "PM" | "pm" | "AM" | "am")).then_some(())?;
                text = &text[2..];
            }
            'z' => offset = zone(&mut text)?,
            's' => return epoch(text),
            '%' => text = text.strip_prefix('%')?,
            _ => return None,
        }
    }
    if timed && !text.is_empty() {
        offset = zone(&mut text)?;
    }
    let year = year?;
    let in_range = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    let hours = if twelve { 1..=12 } else { 0..=23 };
    if !text.is_empty() || !in_range || !hours.contains(&hour) || minute > 59 || seconds >= 61.0 {
        return None;
    }
    let hour = if twelve { hour % 12 + 12 * u32::from(afternoon) } else { hour };
    let clock = f64::from(hour * 3600 + minute * 60) + seconds - offset;
    Some(Moment(Moment::of_day(year, month, day).0 + clock))
}

fn digits(text: &mut &str, least: usize, most: usize) -> Option<u32> {
    let len = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(len);
    *text = rest;
    (len >= least).then(|| number.parse().ok())?
}

fn decimal(text: &mut &str) -> Option<f64> {
    let whole = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let fraction = match text.as_bytes().get(whole) {
        Some(b'.' | b',') => {
            1 + text.bytes().skip(whole + 1).take_while(u8::is_ascii_digit).count()
        }
        _ => 0,
    };
    let (number, rest) = text.split_at(whole + fraction);
    *text = rest;
    if whole == 0 { None } else { number.replace(',', ".").parse().ok() }
}

fn month_name(text: &mut &str) -> Option<u32> {
    let len = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (name, rest) = text.split_at(len);
    *text = rest.strip_prefix('.').unwrap_or(rest);
    let start = name.get(..3)?.to_ascii_lowercase();
    MONTHS.iter().position(|month| *month == start).map(|place| place as u32 + 1)
}

/// Seconds east of Greenwich.
fn zone(text: &mut &str) -> Option<f64> {
    let rest = text.trim_start();
    if let Some(rest) = rest.strip_prefix(['Z', 'z']) {
        *text = rest;
        return Some(0.0);
    }
    let sign = if rest.starts_with('-') { -1.0 } else { 1.0 };
    let mut rest = rest.strip_prefix(['+', '-'])?;
    let hours = digits(&mut rest, 2, 2)?;
    rest = rest.strip_prefix(':').unwrap_or(rest);
    let minutes = digits(&mut rest, 2, 2).unwrap_or(0);
    *text = rest;
    (hours < 24 && minutes < 60).then_some(sign * f64::from(hours * 3600 + minutes * 60))
}

/// Seconds since 1970, or milliseconds; a number of fewer digits is more likely something else.
fn epoch(text: &str) -> Option<Moment> {
    let whole = text.split('.').next()?;
    let number: f64 = text.parse().ok().filter(|_| whole.bytes().all(|b| b.is_ascii_digit()))?;
    match whole.len() {
        9..=11 => Some(Moment(number)),
        12..=14 => Some(Moment(number / 1000.0)),
        _ => None,
    }
}

/// A length of time in seconds: `14d`, `36h`, `30min`, `90s`, `2w`.
pub fn duration(text: &str) -> Option<f64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = text[..at].trim().parse().ok().filter(|n: &f64| n.is_finite() && *n > 0.0)?;
    let unit = match &text[at..] {
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        "y" => 365.25 * 86_400.0,
        _ => return None,
    };
    Some(number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_centuries_comes_after_the_one_before() {
        let first = days_of(1600, 1, 1);
        let (mut year, mut month, mut day) = (1600, 1, 1);
        for days in first..first + 2 * 146_097 {
            let civil = Moment(days as f64 * 86_400.0 + 3.0).civil();
            assert_eq!((civil.year, civil.month, civil.day), (year, month, day));
            assert_eq!(
                civil.weekday,
                ((days - first) + 5).rem_euclid(7) as u32,
                "1600 began on a Saturday"
            );
            assert_eq!((days_of(year, month, day), civil.second), (days, 3));
            day += 1;
            if day > days_in(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!(Moment::of_day(2024, 12, 31).civil().day_of_year, 366);
    }

    #[test]
    fn many_ways_of_writing_are_read() {
        let noon = Moment::of_day(2024, 2, 29).0 + 12.0 * 3600.0;
        for (text, format) in [
            ("2024-02-29 12:00", "%Y-%m-%d %H:%M"),
            ("2024-02-29T12:00:00.000Z", "%Y-%m-%dT%H:%M:%S"),
            ("2024-02-29 14:00:00+02:00", "%Y-%m-%d %H:%M:%S"),
            ("2024-02-29 06:30 -0530", "%Y-%m-%d %H:%M %z"),
            ("29.2.2024 12:00", "%d.%m.%Y %H:%M"),
            ("2/29/24 12:00 PM", "%m/%d/%y %I:%M %p"),
            ("Feb 29, 2024 12:00", "%b %d, %Y %H:%M"),
            ("29-February-2024 12:00", "%d-%b-%Y %H:%M"),
            ("1709208000", "%s"),
            ("1709208000000", "%s"),
        ] {
            assert_eq!(read(text, format), Some(Moment(noon)), "{text}");
            assert_eq!(format_problem(format), None);
        }
        assert_eq!(read("1/1/69", "%m/%d/%y").unwrap().civil().year, 1969);
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for (text, format) in [
            ("2023-02-29", "%Y-%m-%d"),
            ("2024-13-01", "%Y-%m-%d"),
            ("2024-00-01", "%Y-%m-%d"),
            ("2024-01-01x", "%Y-%m-%d"),
            ("2024-01-01 24:00", "%Y-%m-%d %H:%M"),
            ("2024-01-01 13:00 PM", "%Y-%m-%d %I:%M %p"),
            ("24-01-01", "%Y-%m-%d"),
            ("\u{664}\u{664}\u{664}\u{664}", "%Y"),
            ("Fev 1, 2024", "%b %d, %Y"),
            ("\u{e9}\u{e9}\u{e9} 1, 2024", "%b %d, %Y"),
            ("12345", "%s"),
            ("", "%Y"),
        ] {
            assert_eq!(read(text, format), None, "{text} by {format}");
        }
        assert!(format_problem("%Q").is_some() && format_problem("%d.%m").is_some());
        assert!(format_problem("%Y%").is_some());
    }

    #[test]
    fn lengths_of_time() {
        assert_eq!(duration("14d"), Some(14.0 * 86_400.0));
        assert_eq!(duration("1.5h"), Some(5400.0));
        for bad in ["14", "d", "-1d", "1 fortnight", "nand", "infs"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
