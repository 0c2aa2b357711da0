//! Times as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second of the year 9999. Later ones, and those before 1970, are no dates that can be written.
const LAST: u64 = 253_402_300_799;

/// The time now, or the nearest that can be written: a machine without a battery may have any.
pub fn wall() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + since.min(Duration::from_secs(LAST))
}

/// The date and time in UTC, to the minute: 2026-11-26 13:05 UTC.
pub fn now() -> String {
    let text = humantime::format_rfc3339_seconds(wall()).to_string();
    let minutes = text.get(..16).unwrap_or(&text);
    format!("{} UTC", minutes.replace('T', " "))
}

/// How long something took: 1h 2m 3s.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    humantime::format_duration(Duration::from_secs(seconds.round() as u64)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(duration(4.25), "4.2 s");
        assert_eq!(duration(3723.4), "1h 2m 3s");
        let now = now();
        assert!(now.len() == 20 && now.ends_with(" UTC") && now[..4].parse::<u32>().is_ok(), "{now}");
    }
}
