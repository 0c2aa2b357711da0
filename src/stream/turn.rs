//! Puts into order what several threads do at their own pace.

use std::sync::PoisonError;

use super::Queue;
use super::sync::{Condvar, Mutex, MutexGuard, thread};

/// Lets one number after the other have its turn.
#[derive(Default)]
pub struct Turn {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    number: u64,
    /// There are no more turns.
    over: bool,
}

/// There are no more turns.
#[derive(Debug, PartialEq)]
pub struct Over;

impl Turn {
    /// Whether it is the turn of a number.
    pub fn has_come(&self, number: u64) -> bool {
        self.lock().number == number
    }

    /// Waits for the turn of a number.
    pub fn wait_for(&self, number: u64) -> Result<(), Over> {
        let mut state = self.lock();
        while state.number < number && !state.over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.over { Err(Over) } else { Ok(()) }
    }

    /// Ends the turn of whoever has it.
    pub fn pass(&self) {
        self.lock().number += 1;
        self.changed.notify_all();
    }

    /// Ends all turns, also of those who wait.
    pub fn end(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    /// Deals things out to several threads, each with its number, until there are no more or `work` finds that turns are over. `work`
    /// waits for its turn before it pushes into `queue`, and passes it on.
    pub fn deal<T: Send, W: Send>(
        &self,
        things: impl Iterator<Item = T> + Send,
        threads: usize,
        queue: &Queue<W>,
        work: impl Fn(T, u64) -> Result<(), Over> + Sync,
    ) {
        let things = Mutex::new(things.zip(0..));
        let next = || things.lock().unwrap_or_else(PoisonError::into_inner).next();
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let _stop = StopIfPanicking { turn: self, queue };
                    while let Some((thing, number)) = next() {
                        if work(thing, number).is_err() {
                            self.end();
                            break;
                        }
                    }
                });
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the other threads end when one panics: they would wait for its turn, and it for them.
struct StopIfPanicking<'a, W> {
    turn: &'a Turn,
    queue: &'a Queue<W>,
}

impl<W> Drop for StopIfPanicking<'_, W> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.turn.end();
            self.queue.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_in_order() {
        let (turn, seen) = (Turn::default(), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for number in (0..8).rev() {
                let (turn, seen) = (&turn, &seen);
                scope.spawn(move || {
                    turn.wait_for(number).unwrap();
                    assert!(turn.has_come(number));
                    seen.lock().unwrap().push(number);
                    turn.pass();
                });
            }
        });
        assert_eq!(seen.into_inner().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn nobody_waits_once_turns_are_over() {
        let turn = Turn::default();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| turn.wait_for(1));
            turn.end();
            assert_eq!(waits.join().unwrap(), Err(Over));
        });
    }
}
