//! Threads and locks of the streams: those of the standard library. Tests with the feature `model-checking` put those of a model
//! checker in their place, which runs one thread at a time and chooses at each lock who goes on. So what runs in the tests of
//! `schedules` is the code itself, in orders that no machine would show for years.

/// Only the server counts without a lock.
#[cfg(all(feature = "serve", not(all(test, feature = "model-checking"))))]
pub use std::sync::atomic::AtomicUsize;
#[cfg(not(all(test, feature = "model-checking")))]
pub use std::{
    sync::{Condvar, Mutex, MutexGuard, OnceLock},
    thread,
};

#[cfg(all(test, feature = "model-checking"))]
pub use checked::OnceLock;
#[cfg(all(test, feature = "model-checking"))]
pub use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, atomic::AtomicUsize},
    thread,
};

#[cfg(all(test, feature = "model-checking"))]
mod checked {
    use super::{Mutex, thread};

    /// As in the standard library, which the checker lacks: one thread makes the value, and the others wait.
    pub struct OnceLock<T> {
        turn: Mutex<()>,
        value: std::sync::OnceLock<T>,
    }

    impl<T> Default for OnceLock<T> {
        fn default() -> Self {
            Self { turn: Mutex::new(()), value: std::sync::OnceLock::new() }
        }
    }

    impl<T> OnceLock<T> {
        pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            let _turn = self.turn.lock().unwrap();
            self.value.get_or_init(|| {
                // It takes its time, so others come meanwhile.
                thread::yield_now();
                make()
            })
        }
    }
}
