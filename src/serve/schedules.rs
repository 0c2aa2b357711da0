//! The server's own ways between threads in many orders: see `stream::schedules`.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use shuttle::future::block_on;
use tokio::sync::mpsc;

use super::admission::{Admission, Held};
use super::engine::{Call, Engine, Manner, Opened};
use super::metrics::Metrics;
use crate::request::parameters::Parameters;
use crate::request::parser::Body;
use crate::request::reply::Id;
use crate::request::{DocumentRef, Item, Options};
use crate::stream::schedules::{in_orders, tiny};
use crate::stream::sync::{AtomicUsize, thread};

/// Who waits for room is let in when there is some, and what is held is what was let in.
#[test]
fn whoever_waits_for_room_gets_it() {
    in_orders(3000, || {
        let admission = Admission::new(4);
        let most = AtomicUsize::new(0);
        thread::scope(|scope| {
            for tokens in [2, 1, 2, 1] {
                let (admission, most) = (&admission, &most);
                scope.spawn(move || {
                    let held = block_on(admission.wait(3, tokens));
                    most.fetch_max(admission.held(), SeqCst);
                    drop(held);
                });
            }
        });
        assert_eq!(admission.held(), 0);
        // The last one that is let in may need more than is left.
        assert!(most.into_inner() <= 2 + 2);
    });
}

fn engine(admission: &Arc<Admission>) -> Engine {
    let options = Options::default();
    let opened = Opened { reader: tiny(), ask: Vec::new(), batch: options.clone(), pipeline: options };
    Engine::new("tiny".into(), opened, admission.clone(), Arc::new(Metrics::new()))
}

/// Asks so many questions at once and says which of them were answered. Nobody is answered later.
fn ask(engine: &Engine, admitted: Held, count: usize) -> impl FnOnce() -> Vec<usize> {
    let item = |number| Item { question: format!("who is {number}?"), documents: 0..1 };
    let body = Body {
        documents: vec![DocumentRef::Text("the old king of the hill".into())],
        items: (0..count).map(item).collect(),
        parameters: Parameters::default(),
    };
    let names = (0..count as u64).map(Id::from).collect();
    let (sender, mut answers) = mpsc::unbounded_channel();
    engine.prepare(Manner::Batch, body, names, &Call::default(), admitted, &sender);
    drop(sender);
    move || {
        let mut places = Vec::new();
        while let Ok(answered) = answers.try_recv() {
            assert!(answered.reply.is_ok());
            places.push(answered.place);
        }
        assert!(answers.is_closed());
        places.sort();
        places
    }
}

/// What was asked before the end is answered, once; then the model's thread ends.
#[test]
fn an_orderly_end_answers_everything_once() {
    in_orders(150, || {
        let admission = Admission::new(1000);
        let engine = engine(&admission);
        let answered = thread::scope(|scope| {
            let model = scope.spawn(|| engine.run());
            let senders = [2, 1, 2].map(|count| {
                let (engine, admitted) = (&engine, admission.admit(1).unwrap());
                scope.spawn(move || ask(engine, admitted, count))
            });
            let answers = senders.map(|sender| sender.join().unwrap());
            engine.stop();
            model.join().unwrap();
            answers.map(|answered| answered())
        });
        assert_eq!(answered, [vec![0, 1], vec![0], vec![0, 1]]);
        assert_eq!(admission.held(), 0);
    });
}

/// An end at any moment leaves nobody waiting: whoever is not answered hears that there will be no answer.
#[test]
fn an_early_end_leaves_nobody_waiting() {
    in_orders(150, || {
        let admission = Admission::new(1000);
        let engine = engine(&admission);
        thread::scope(|scope| {
            let model = scope.spawn(|| engine.run());
            let senders = [2, 2].map(|count| {
                let (engine, admitted) = (&engine, admission.admit(1).unwrap());
                scope.spawn(move || ask(engine, admitted, count))
            });
            engine.stop();
            let answers = senders.map(|sender| sender.join().unwrap());
            model.join().unwrap();
            for answered in answers {
                // In order: what came before the end.
                let answered = answered();
                assert!(answered.iter().copied().eq(0..answered.len()), "{answered:?}");
            }
        });
        assert_eq!(admission.held(), 0);
    });
}
