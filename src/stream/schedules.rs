//! The streams in many orders of their threads (`cargo test --release --features model-checking --lib -- schedules`): all orders of what is
//! small, and some thousands of the rest, by chance and by chosen switches. The checker notices threads that wait for each other.

use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, LazyLock};

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

use super::sync::{AtomicUsize, Mutex, thread};
use super::turn::{Over, Turn};
use super::{Queue, Shelf, gather, gather_with};
use crate::checkpoint::ModelFiles;
use crate::encoder::Runtime;
use crate::reader::Reader;
use crate::request::reply::DocumentId;

/// Orders that are tried of each kind.
const ORDERS: usize = 3000;

fn in_many_orders(test: impl Fn() + Send + Sync + Clone + 'static) {
    in_orders(ORDERS, test);
}

/// So many orders by chance, and so many with a few switches at chosen places, which find what many by chance do not.
pub fn in_orders(count: usize, test: impl Fn() + Send + Sync + Clone + 'static) {
    Runner::new(RandomScheduler::new(count), config()).run(test.clone());
    Runner::new(PctScheduler::new(3, count), config()).run(test);
}

fn in_all_orders(test: impl Fn() + Send + Sync + 'static) {
    Runner::new(DfsScheduler::new(None, false), config()).run(test);
}

/// Tokenising takes more stack than the checker's threads usually have.
fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config
}

/// A model that is so small that it takes no time.
pub fn tiny() -> Reader {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny/minilm");
    Reader::open(&ModelFiles::from_dir(&folder).unwrap(), &Runtime::default()).unwrap()
}

/// Opened once, before the checker knows of any thread.
static TINY: LazyLock<Reader> = LazyLock::new(tiny);

/// Puts a thing into a queue when it is its turn.
fn hand_on<T>(turn: &Turn, queue: &Queue<T>, thing: T, number: u64) -> Result<(), Over> {
    turn.wait_for(number)?;
    queue.push(1, thing).map_err(|_| Over)?;
    turn.pass();
    Ok(())
}

/// Takes everything out of a queue until it ends.
fn all<T>(queue: &Queue<T>) -> Vec<T> {
    std::iter::from_fn(|| queue.pop()).collect()
}

#[test]
fn a_queue_hands_over_what_is_put_in() {
    in_all_orders(|| {
        let queue = Queue::new(1);
        thread::scope(|scope| {
            scope.spawn(|| {
                let _end = queue.end_with();
                queue.push(1, 'a').unwrap();
            });
            assert_eq!(all(&queue), ['a']);
        });
    });
}

#[test]
fn two_writers_and_two_readers_lose_nothing() {
    in_many_orders(|| {
        let (queue, over) = (Queue::new(3), AtomicUsize::new(0));
        let seen = thread::scope(|scope| {
            let readers = [(); 2].map(|()| {
                scope.spawn(|| {
                    let seen = all(&queue);
                    assert_eq!(over.load(SeqCst), 1, "a reader left before the end");
                    seen
                })
            });
            let writers = [0, 10].map(|first| {
                let queue = &queue;
                scope.spawn(move || (first..first + 3).for_each(|thing| queue.push(2, thing).unwrap()))
            });
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            over.store(1, SeqCst);
            queue.end();
            readers.map(|reader| reader.join().unwrap())
        });
        for seen in &seen {
            for writer in [0..10, 10..20] {
                let own: Vec<_> = seen.iter().filter(|thing| writer.contains(*thing)).collect();
                assert!(own.is_sorted(), "{seen:?}");
            }
        }
        let mut seen = seen.concat();
        seen.sort();
        assert_eq!(seen, [0, 1, 2, 10, 11, 12]);
    });
}

#[test]
fn an_abandoned_queue_lets_everybody_go() {
    in_many_orders(|| {
        let queue = Queue::new(2);
        let given = AtomicUsize::new(0);
        let taken = thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while queue.push(2, ()).is_ok() {
                        given.fetch_add(1, SeqCst);
                    }
                });
            }
            let readers = [(); 2].map(|()| scope.spawn(|| [queue.pop(), queue.pop()]));
            queue.pop();
            queue.abandon();
            readers.map(|reader| reader.join().unwrap()).concat().into_iter().flatten().count()
        });
        assert!(queue.is_empty() && queue.pop().is_none());
        assert!(taken <= given.load(SeqCst));
    });
}

#[test]
fn work_is_handed_on_in_order_whoever_prepares_it() {
    in_many_orders(|| {
        let (queue, turn) = (Queue::new(2), Turn::default());
        thread::scope(|scope| {
            scope.spawn(|| {
                let _end = queue.end_with();
                turn.deal(0..5, 3, &queue, |thing, number| hand_on(&turn, &queue, thing, number));
            });
            assert_eq!(all(&queue), [0, 1, 2, 3, 4]);
        });
    });
}

#[test]
fn nobody_prepares_for_ever_what_nobody_wants() {
    in_many_orders(|| {
        let (queue, turn) = (Queue::new(1), Turn::default());
        thread::scope(|scope| {
            scope.spawn(|| {
                turn.deal(0.., 3, &queue, |thing, number| hand_on(&turn, &queue, thing, number));
            });
            assert_eq!((queue.pop(), queue.pop()), (Some(0), Some(1)));
            queue.abandon();
        });
    });
}

/// The model takes groups, and between two batches of a large piece what is small.
#[test]
fn groups_hold_each_piece_of_work_once() {
    in_many_orders(|| {
        let queue = Queue::new(usize::MAX);
        let weight = |work: &(usize, usize)| work.1;
        let mut groups: Vec<Vec<(usize, usize)>> = Vec::new();
        thread::scope(|scope| {
            let writers = [0, 10].map(|first| {
                let queue = &queue;
                scope.spawn(move || {
                    for (place, size) in [(first, 7), (first + 1, 1), (first + 2, 2)] {
                        queue.push(size, (place, size)).unwrap();
                    }
                })
            });
            let model = scope.spawn(|| {
                let mut groups = Vec::new();
                while let Some(group) = gather(&queue, 4, weight) {
                    let between = queue.pop_fitting(2);
                    groups.push(group);
                    groups.extend(
                        between.map(|first| gather_with(first, 2, weight, |room| queue.pop_fitting(room))),
                    );
                }
                groups
            });
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            queue.end();
            groups = model.join().unwrap();
        });
        for group in &groups {
            assert!(group.len() == 1 || group.iter().map(weight).sum::<usize>() <= 4, "{groups:?}");
        }
        let mut all: Vec<usize> = groups.concat().into_iter().map(|(place, _)| place).collect();
        all.sort();
        assert_eq!(all, [0, 1, 2, 10, 11, 12]);
    });
}

#[test]
fn a_document_is_tokenised_once_for_all_who_want_it() {
    LazyLock::force(&TINY);
    in_many_orders(|| {
        let shelf = Shelf::new(1 << 20);
        let take = |text: &str| shelf.document(&TINY, DocumentId::Index(0), text.to_owned().into()).unwrap();
        let taken = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for text in ["the king", "the king", "the hill", "the king"] {
                let (take, taken) = (&take, &taken);
                scope.spawn(move || {
                    let document = take(text);
                    assert_eq!(document.text, text);
                    taken.lock().unwrap().push(document);
                });
            }
        });
        let mut places: Vec<_> = taken.into_inner().unwrap().iter().map(Arc::as_ptr).collect();
        places.sort();
        places.dedup();
        assert_eq!(places.len(), 2);
    });
}

/// While documents come and go, whoever asks gets the one that was asked for, and what the shelf says of its size stays true.
#[test]
fn a_shelf_without_room_stays_right() {
    LazyLock::force(&TINY);
    in_many_orders(|| {
        let shelf = Shelf::new(700);
        thread::scope(|scope| {
            for texts in [["the king", "the hill"], ["the hill", "the king"], ["the old", "the king"]] {
                let shelf = &shelf;
                scope.spawn(move || {
                    for text in texts {
                        let id = DocumentId::Index(0);
                        assert_eq!(shelf.document(&TINY, id, text.to_owned().into()).unwrap().text, text);
                    }
                });
            }
        });
        shelf.check();
    });
}
