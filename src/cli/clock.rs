//! Times as people read them.

use std::time::{Duration, SystemTime};

/// The date and time in UTC, to the minute: 2026-11-26 13:05 UTC.
pub fn now() -> String {
    let text = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
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
