//! Who may wait: work is counted in tokens of windows, because one request may be worth a thousand others.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::stream::sync::{AtomicUsize, Mutex};

/// Tokens that wait or are in the model, and how many may.
pub struct Admission {
    capacity: usize,
    held: AtomicUsize,
    freed: Notify,
    /// Tokens a second that go through the model; 0 until something was measured.
    rate: Mutex<f64>,
}

/// There is too much work already.
#[derive(Debug, PartialEq, Eq)]
pub struct Full {
    /// Seconds after which it is worth asking again.
    pub retry_after: u64,
}

/// How much the latest measurement counts.
const LATEST: f64 = 0.2;

/// Nobody is sent away for longer, in seconds.
const LONGEST: f64 = 60.0;

impl Admission {
    /// Lets so many tokens wait.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity: capacity.max(1),
            held: AtomicUsize::new(0),
            freed: Notify::new(),
            rate: Mutex::new(0.0),
        })
    }

    /// Takes work on if there is any room. The last one that is let in may need more than is left: of a large request nobody could say
    /// when to come again.
    pub fn admit(self: &Arc<Self>, tokens: usize) -> Result<Held, Full> {
        self.hold_below(self.capacity, tokens).ok_or_else(|| Full { retry_after: self.retry_after() })
    }

    fn hold_below(self: &Arc<Self>, most: usize, tokens: usize) -> Option<Held> {
        let counted = self.counted(tokens);
        let room = |held: usize| (held < most).then(|| held.saturating_add(counted));
        let held = self.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, room);
        held.is_ok().then(|| Held { admission: self.clone(), tokens, counted })
    }

    /// Takes work on as soon as less than `most` waits, and there is room.
    pub async fn wait(self: &Arc<Self>, most: usize, tokens: usize) -> Held {
        loop {
            // Before looking, so that nothing is missed between the two: it hears what is said from here on.
            let freed = self.freed.notified();
            if let Some(held) = self.hold_below(most.min(self.capacity), tokens) {
                return held;
            }
            freed.await;
        }
    }

    /// What some work takes of the room: never more than half of it, as others have their turn between its batches. A single long document
    /// would have all others sent away for as long as it is read.
    fn counted(&self, tokens: usize) -> usize {
        tokens.min(self.capacity.div_ceil(2))
    }

    /// Tokens that wait or are in the model.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Notes how long the model took for some tokens.
    pub fn measured(&self, tokens: usize, time: Duration) {
        if tokens == 0 || time.is_zero() {
            return;
        }
        let now = tokens as f64 / time.as_secs_f64();
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        *rate = if *rate > 0.0 { *rate + LATEST * (now - *rate) } else { now };
    }

    /// Seconds until what waits now is done, at least 1.
    pub fn retry_after(&self) -> u64 {
        let rate = *self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = if rate > 0.0 { self.held() as f64 / rate } else { 1.0 };
        seconds.ceil().clamp(1.0, LONGEST) as u64
    }
}

/// Some work that was let in; dropped when it is done.
pub struct Held {
    admission: Arc<Admission>,
    tokens: usize,
    counted: usize,
}

impl Held {
    /// How many tokens it is.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// What one question of it needs: of what was counted already, and more only where that was too little. So nothing counts twice.
    pub fn part(&mut self, tokens: usize) -> Self {
        let counted = self.admission.counted(tokens);
        let known = counted.min(self.counted);
        self.counted -= known;
        self.admission.held.fetch_add(counted - known, Ordering::SeqCst);
        Self { admission: self.admission.clone(), tokens, counted }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.admission.held.fetch_sub(self.counted, Ordering::SeqCst);
        self.admission.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_until_too_much_waits() {
        let admission = Admission::new(100);
        // However large, and there is room left for others.
        let large = admission.admit(1_000_000).unwrap();
        assert_eq!((admission.held(), large.tokens()), (50, 1_000_000));
        let (small, other) = (admission.admit(49).unwrap(), admission.admit(50).unwrap());
        assert_eq!(admission.held(), 149);
        assert!(admission.admit(1).is_err());
        drop(other);
        assert!(admission.admit(0).is_ok());
        drop((large, small));
        assert_eq!(admission.held(), 0);
    }

    /// Others are let in while a request becomes questions, as many as after it.
    #[test]
    fn what_was_let_in_counts_once() {
        let admission = Admission::new(100);
        let mut request = admission.admit(40).unwrap();
        let (first, second) = (request.part(30), request.part(25));
        assert_eq!((first.tokens(), second.tokens(), admission.held()), (30, 25, 55));
        drop(first);
        assert_eq!(admission.held(), 25);
        drop(request);
        assert_eq!(admission.held(), 25);
        drop(second);
        // A guess that was too high.
        let mut request = admission.admit(40).unwrap();
        let part = request.part(10);
        assert_eq!(admission.held(), 40);
        drop(request);
        assert_eq!(admission.held(), 10);
        drop(part);
        assert_eq!(admission.held(), 0);
    }

    #[test]
    fn the_time_to_wait_is_what_waits_by_what_was_measured() {
        let admission = Admission::new(10_000);
        let mut held = [(); 2].map(|()| admission.admit(5000).unwrap());
        assert_eq!(admission.admit(1).err(), Some(Full { retry_after: 1 }));
        admission.measured(200, Duration::from_secs(1));
        assert_eq!(admission.retry_after(), 50);
        admission.measured(1_000_000, Duration::from_secs(1));
        assert_eq!(admission.retry_after(), 1);
        for _ in 0..20_000 {
            std::mem::forget(held[0].part(5000));
        }
        assert_eq!(admission.retry_after(), 60);
    }

    #[test]
    fn who_waits_is_let_in_when_something_is_done() {
        let admission = Admission::new(10);
        let first = [(); 2].map(|()| admission.admit(10).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let waits = tokio::spawn({
                let admission = admission.clone();
                async move { admission.wait(20, 7).await.tokens() }
            });
            tokio::task::yield_now().await;
            assert!(!waits.is_finished());
            drop(first);
            assert_eq!(waits.await.unwrap(), 7);
            // There is room, but more waits already than this one may have ahead of it.
            let _some = admission.admit(5).unwrap();
            let polite = tokio::time::timeout(Duration::ZERO, admission.wait(5, 1)).await;
            assert!(polite.is_err());
            admission.wait(6, 1).await;
        });
    }
}
