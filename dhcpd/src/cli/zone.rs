//! The caller's time zone, as the C library knows it: `TZ`, or `/etc/localtime`.
//!
//! It promises that a time that a clock shows twice, or never, is refused and not guessed.

#![allow(unsafe_code, reason = "localtime_r and mktime have no safe wrapper")]

use crate::api::parse_time;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use vestibule_core::Timestamp;

/// A moment as a clock on the wall shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Local {
    /// `2026-11-03 14:05:00 +01:00`
    pub(super) text: String,
    /// What the zone calls itself then, such as `CET`.
    pub(super) zone: String,
}

/// This moment in the caller's zone; `None` if it is beyond what the library can tell.
pub(super) fn local(time: Timestamp) -> Option<Local> {
    let tm = local_tm(i64::try_from(time.seconds()).ok()?)?;
    let minutes = tm.tm_gmtoff / 60;
    let (sign, minutes) = if minutes < 0 { ('-', -minutes) } else { ('+', minutes) };
    let text = format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02} {sign}{:02}:{:02}",
        i64::from(tm.tm_year) + 1900,
        tm.tm_mon + 1,
        tm.tm_mday,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec,
        minutes / 60,
        minutes % 60
    );
    // SAFETY: the library points tm_zone to a string that lives as long as the process, or to none.
    let zone = (!tm.tm_zone.is_null()).then(|| unsafe { CStr::from_ptr(tm.tm_zone) });
    let zone = zone.map(|zone| zone.to_string_lossy().into_owned()).unwrap_or_default();
    Some(Local { text, zone })
}

/// Reads `2026-11-03 14:05`, with or without seconds, in the caller's zone; or a time of RFC 3339.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    if let Some(time) = parse_time(text) {
        return Ok(time);
    }
    let wrong = || {
        format!(
            "`{}` is no time: write it as in \"2026-11-03 14:05\" (here), or 2026-11-03T13:05:00Z",
            super::shown(text)
        )
    };
    let fields = fields(text).ok_or_else(wrong)?;
    let mut found = Vec::new();
    for is_summer in [0, 1] {
        let mut tm = tm_of(fields);
        tm.tm_isdst = is_summer;
        // SAFETY: tm is initialised, and the library writes nothing else.
        let seconds = unsafe { libc::mktime(&raw mut tm) };
        let is_so = local_tm(seconds).is_some_and(|tm| {
            let [year, month, day, hour, minute, second] = fields;
            (tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday) == (year, month, day)
                && (tm.tm_hour, tm.tm_min, tm.tm_sec) == (hour, minute, second)
        });
        if let Some(seconds) = u64::try_from(seconds).ok().filter(|_| is_so)
            && !found.contains(&seconds)
        {
            found.push(seconds);
        }
    }
    match found.as_slice() {
        [seconds] => Ok(Timestamp::from_seconds(*seconds)),
        [] => Err(format!("`{text}` is a time that no clock here shows; {}", OFFSET)),
        _ => Err(format!("`{text}` is a time that clocks here show twice; {}", OFFSET)),
    }
}

const OFFSET: &str = "write it with its offset, as in 2026-10-25T02:30:00+01:00";

/// Year, month, day, hour, minute, second.
fn fields(text: &str) -> Option<[i32; 6]> {
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00"));
    let mut fields = [0; 6];
    let mut parts = date.split('-').map(Some).collect::<Vec<_>>();
    if parts.len() != 3 {
        return None;
    }
    parts.extend(time.split(':').map(Some));
    if parts.len() > 6 || parts.len() < 5 {
        return None;
    }
    for (field, part) in fields.iter_mut().zip(parts.into_iter().flatten()) {
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        *field = part.parse().ok().filter(|_| is_number)?;
    }
    let [year, month, day, hour, minute, second] = fields;
    let is_plausible = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    is_plausible.then_some(fields)
}

fn tm_of([year, month, day, hour, minute, second]: [i32; 6]) -> libc::tm {
    // SAFETY: a tm of zeros is a valid one; its pointer is null.
    let mut tm: libc::tm = unsafe { MaybeUninit::zeroed().assume_init() };
    (tm.tm_year, tm.tm_mon, tm.tm_mday) = (year - 1900, month - 1, day);
    (tm.tm_hour, tm.tm_min, tm.tm_sec) = (hour, minute, second);
    tm
}

fn local_tm(seconds: i64) -> Option<libc::tm> {
    let mut tm = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are good for the call, and the library fills all of it if it succeeds.
    let done = unsafe { libc::localtime_r(&raw const seconds, tm.as_mut_ptr()) };
    // SAFETY: as above; what it did not fill is zero.
    (!done.is_null()).then(|| unsafe { tm.assume_init() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_read_is_what_is_shown_whatever_the_zone() {
        for seconds in (0..2_000_000_000).step_by(86_400 * 37 + 12_345) {
            let time = Timestamp::from_seconds(seconds);
            let text = local(time).unwrap().text;
            let (plain, offset) = text.rsplit_once(' ').unwrap();
            let rfc = format!("{}{offset}", plain.replace(' ', "T"));
            assert_eq!(parse(&rfc), Ok(time), "{rfc}");
            match parse(plain) {
                Ok(read) => assert_eq!(read, time, "{plain}"),
                Err(error) => assert!(error.contains("twice"), "{error}"),
            }
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-11-03 25:00",
            "2026-13-03 10:00",
            "2026-11-03 1",
            "+2026-1-1 1:1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("2026-02-30 10:00").unwrap_err().contains("no clock"));
        assert_eq!(parse("2026-11-03"), parse("2026-11-03 00:00:00"));
    }
}
