//! A queue between two threads that holds a bounded amount of work.

use std::collections::VecDeque;
use std::sync::PoisonError;

use super::sync::{Condvar, Mutex, MutexGuard};

/// Hands things from one thread to another. Who puts in too much waits; so a slow reader slows down everybody before it.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// The weight that may wait. A single thing may weigh more.
    capacity: usize,
}

struct State<T> {
    waiting: VecDeque<(usize, T)>,
    weight: usize,
    /// Nothing more comes in.
    ended: bool,
    /// Nobody wants what is still there.
    abandoned: bool,
}

impl<T> Queue<T> {
    /// An empty queue.
    pub fn new(capacity: usize) -> Self {
        let state = State { waiting: VecDeque::new(), weight: 0, ended: false, abandoned: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), capacity }
    }

    /// Puts something in, waiting for room. Gives it back if nobody wants it any more.
    pub fn push(&self, weight: usize, thing: T) -> Result<(), T> {
        let mut state = self.lock();
        while !(state.abandoned || state.ended || state.waiting.is_empty())
            && state.weight.saturating_add(weight) > self.capacity
        {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.abandoned || state.ended {
            return Err(thing);
        }
        state.weight += weight;
        state.waiting.push_back((weight, thing));
        self.changed.notify_all();
        Ok(())
    }

    /// Takes the oldest thing, waiting for one. `None` once there will be no more.
    pub fn pop(&self) -> Option<T> {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.ended && !state.abandoned {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.take(state, usize::MAX)
    }

    /// Takes the oldest thing if there is one and it weighs no more than `room`.
    pub fn pop_waiting(&self, room: usize) -> Option<T> {
        self.take(self.lock(), room)
    }

    /// Takes the oldest thing that weighs no more than `room`. Heavier ones keep their places.
    pub fn pop_fitting(&self, room: usize) -> Option<T> {
        let state = self.lock();
        let place = state.waiting.iter().position(|(weight, _)| *weight <= room)?;
        self.remove(state, place)
    }

    /// Whether nothing is waiting at the moment.
    pub fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// Says that nothing more comes; what waits is still handed out.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Says that nothing more comes once it is dropped: also if its holder panics, so that nobody waits for ever.
    pub fn end_with(&self) -> End<'_, T> {
        End(self)
    }

    /// Says that nothing more is wanted; what waits is dropped, and both sides are woken.
    pub fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        let dropped = std::mem::take(&mut state.waiting);
        drop(state);
        self.changed.notify_all();
        drop(dropped);
    }

    fn take(&self, state: MutexGuard<State<T>>, room: usize) -> Option<T> {
        if state.waiting.front()?.0 > room {
            return None;
        }
        self.remove(state, 0)
    }

    fn remove(&self, mut state: MutexGuard<State<T>>, place: usize) -> Option<T> {
        let (weight, thing) = state.waiting.remove(place)?;
        state.weight = state.weight.saturating_sub(weight);
        self.changed.notify_all();
        Some(thing)
    }

    /// Every change is whole before the lock is let go, so a panic elsewhere leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Queue::end_with`].
pub struct End<'a, T>(&'a Queue<T>);

impl<T> Drop for End<'_, T> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn things_come_out_in_order_and_ends_are_seen() {
        let queue = Queue::new(100);
        queue.push(60, 'a').unwrap();
        queue.push(40, 'b').unwrap();
        queue.end();
        assert_eq!(queue.push(1, 'c'), Err('c'));
        assert_eq!(queue.pop_waiting(59), None);
        assert_eq!(queue.pop_waiting(60), Some('a'));
        assert_eq!((queue.pop(), queue.pop()), (Some('b'), None));
    }

    #[test]
    fn what_fits_goes_before_what_is_too_heavy() {
        let queue = Queue::new(1000);
        for (weight, thing) in [(70, 'a'), (80, 'b'), (5, 'c'), (6, 'd')] {
            queue.push(weight, thing).unwrap();
        }
        assert_eq!((queue.pop_waiting(10), queue.pop_fitting(10)), (None, Some('c')));
        assert_eq!((queue.pop_fitting(5), queue.pop_fitting(75)), (None, Some('a')));
        assert_eq!((queue.pop(), queue.pop_fitting(6)), (Some('b'), Some('d')));
        assert_eq!(queue.lock().weight, 0);
    }

    #[test]
    fn a_full_queue_holds_its_writer() {
        let queue = Queue::new(10);
        let pushed = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..5 {
                    // Heavier than the queue: one at a time all the same.
                    queue.push(11, number).unwrap();
                    pushed.fetch_add(1, Ordering::SeqCst);
                }
                queue.end();
            });
            std::thread::sleep(Duration::from_millis(50));
            assert!(pushed.load(Ordering::SeqCst) <= 1);
            let all: Vec<usize> = std::iter::from_fn(|| queue.pop()).collect();
            assert_eq!(all, [0, 1, 2, 3, 4]);
        });
    }

    #[test]
    fn abandoning_wakes_both_sides() {
        let (full, empty) = (Queue::new(1), Queue::<u8>::new(1));
        full.push(1, 1).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| full.push(1, 2));
            let reader = scope.spawn(|| empty.pop());
            std::thread::sleep(Duration::from_millis(20));
            full.abandon();
            empty.abandon();
            assert_eq!(writer.join().unwrap(), Err(2));
            assert_eq!(reader.join().unwrap(), None);
        });
        assert_eq!(full.pop(), None);
    }
}
