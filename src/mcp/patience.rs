//! How long a call is worked at: until whoever made it takes it back, or has given it up.

use std::time::{Duration, Instant};

use crate::reader::Cancel;

/// Most clients wait for a minute. A reason that comes before its end is read, and says what to do.
const LIMIT: Duration = Duration::from_secs(50);

/// The patience of whoever made a call.
#[derive(Clone)]
pub struct Patience {
    pub cancel: Cancel,
    pub deadline: Instant,
}

impl Patience {
    /// That of a call that begins now.
    pub fn new() -> Self {
        Self { cancel: Cancel::default(), deadline: Instant::now() + LIMIT }
    }

    /// Whether there is some left. If not, the reason says what to do.
    pub fn check(&self, what_to_do: &str) -> Result<(), String> {
        if self.cancel.is_cancelled() {
            return Err("the call was cancelled".into());
        }
        match Instant::now() < self.deadline {
            true => Ok(()),
            false => Err(format!("this took more than {} seconds: {what_to_do}", LIMIT.as_secs())),
        }
    }
}

#[cfg(test)]
impl Patience {
    /// None is left.
    pub fn over() -> Self {
        Self { deadline: Instant::now(), ..Self::new() }
    }

    /// The call was taken back.
    pub fn taken_back() -> Self {
        let patience = Self::new();
        patience.cancel.cancel();
        patience
    }
}
