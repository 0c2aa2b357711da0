//! The one path, with a model that needs no weights: it looks for the question's words.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use spanqa::decode::{Decoding, ScoringRules};
use spanqa::encoder::batch::Batch;
use spanqa::heads::{SpanModel, WindowLogits};
use spanqa::reader::{Cancel, Document, Event, Found, Question, Reader, Search};
use spanqa::request::Options;
use spanqa::request::reply::{DocumentId, Reason, Reply};
use spanqa::source::{SourceOptions, resolve};
use spanqa::text::Tokenizer;
use spanqa::text::offsets::OffsetUnit;
use spanqa::text::window::Limits;
use spanqa::{ErrorClass, encoder, reader, text};

/// Prefers context tokens that equal question tokens; everything else, and "no answer", scores lower.
#[derive(Default)]
struct KeywordModel {
    largest_batch: AtomicUsize,
    lanes: usize,
    /// Calls until the model fails, if ever it does.
    failing_call: Option<usize>,
    /// Whether it does so by panicking.
    panics: bool,
    calls: AtomicUsize,
    busy: AtomicUsize,
    most_busy: AtomicUsize,
}

impl SpanModel for KeywordModel {
    fn usable_positions(&self) -> usize {
        512
    }

    fn vocabulary(&self) -> usize {
        30522
    }

    fn logits(&self, batch: &Batch) -> encoder::Result<Vec<WindowLogits>> {
        self.largest_batch.fetch_max(batch.tokens(), Ordering::Relaxed);
        if Some(self.calls.fetch_add(1, Ordering::Relaxed)) == self.failing_call {
            assert!(!self.panics, "on purpose");
            return Err(encoder::Error::CardTooSmall { device: "cuda:0".into() });
        }
        self.most_busy.fetch_max(self.busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        if self.lanes > 0 {
            // Long enough for the other lanes to take their batches.
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.busy.fetch_sub(1, Ordering::SeqCst);
        let windows = batch.ranges().map(|range| {
            let (ids, segments) = (&batch.ids[range.clone()], &batch.segments[range]);
            let question: Vec<u32> =
                ids.iter().zip(segments).filter(|(_, s)| **s == 0).map(|(id, _)| *id).collect();
            let score = |(place, (id, segment)): (usize, (&u32, &u32))| match (place, segment) {
                (0, _) => 0.5,
                // Where a token stands makes a small difference, so that no two spans are equal.
                (_, 1) if question.contains(id) => 4.0 - place as f32 * 0.001,
                _ => -4.0 - place as f32 * 0.001,
            };
            let start: Vec<f32> = ids.iter().zip(segments).enumerate().map(score).collect();
            WindowLogits { end: start.clone(), start }
        });
        Ok(windows.collect())
    }

    fn lanes(&self) -> usize {
        self.lanes
    }
}

/// A model that the test can still look at.
struct Shared(Arc<KeywordModel>);

impl SpanModel for Shared {
    fn usable_positions(&self) -> usize {
        self.0.usable_positions()
    }

    fn vocabulary(&self) -> usize {
        self.0.vocabulary()
    }

    fn logits(&self, batch: &Batch) -> encoder::Result<Vec<WindowLogits>> {
        self.0.logits(batch)
    }

    fn lanes(&self) -> usize {
        self.0.lanes()
    }
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_files(&resolve("builtin", &SourceOptions::default()).unwrap().files).unwrap()
}

fn reader() -> Reader {
    Reader::new(tokenizer(), Box::new(KeywordModel::default()), "keyword").unwrap()
}

fn documents(reader: &Reader, texts: &[&str]) -> Vec<Arc<Document>> {
    let document =
        |(index, text): (usize, &&str)| reader.prepare(DocumentId::Index(index), (*text).to_owned());
    texts.iter().enumerate().map(|text| document(text).unwrap().into()).collect()
}

fn ask(reader: &Reader, question: &str, texts: &[&str], options: &Options) -> reader::Result<Reply> {
    let question = Question::new("1", question, documents(reader, texts)).with(&Arc::new(options.clone()));
    reader.answer(&[question], &mut |_| {}).unwrap().remove(0)
}

/// A question to each document alone.
fn each(documents: &[Arc<Document>], question: &str, options: &Arc<Options>) -> Vec<Question> {
    let ask = |document: &Arc<Document>| Question::new("1", question, vec![document.clone()]).with(options);
    documents.iter().map(ask).collect()
}

/// A long text without the words of any question here, with something in its middle.
fn haystack(before: usize, needle: &str, after: usize) -> String {
    format!("{}{needle} {}", "lorem ipsum dolor. ".repeat(before), "sit amet elit. ".repeat(after))
}

#[test]
fn the_answer_is_found_wherever_it_stands() {
    let reader = reader();
    for (before, after) in [(0, 0), (0, 900), (40, 40), (450, 450), (900, 0), (63, 200), (64, 200), (65, 200)]
    {
        let text = haystack(before, "zebra", after);
        let reply = ask(&reader, "zebra?", &[&text], &Options::default()).unwrap();
        assert!(reply.answered);
        assert_eq!((reply.answers[0].text.as_str(), reply.answers[0].start), ("zebra", before * 19));
        assert!(reply.windows > 1 || before + after < 100);
    }
}

#[test]
fn documents_compete_in_one_distribution() {
    let reader = reader();
    let options = Options { decoding: Decoding { top_k: 2, ..Decoding::default() }, ..Options::default() };
    let texts = ["nothing here", "", "a giraffe and a zebra", "a zebra"];
    let reply = ask(&reader, "zebra", &texts, &options).unwrap();
    let found: Vec<_> = reply.answers.iter().map(|answer| (answer.document.clone(), answer.start)).collect();
    assert_eq!(found, [(DocumentId::Index(3), 2), (DocumentId::Index(2), 16)]);
    assert_eq!(reply.windows, 3);
    let total: f32 = reply.answers.iter().map(|answer| answer.score).sum::<f32>() + reply.no_answer_score;
    assert!(total <= 1.0 && total > 0.99, "{total}");
    // The order of the documents changes nothing but their numbers.
    let reversed: Vec<&str> = texts.iter().rev().copied().collect();
    let other = ask(&reader, "zebra", &reversed, &options).unwrap();
    assert_eq!(other.answers[0].score, reply.answers[0].score);
    assert_eq!(other.answers[0].document, DocumentId::Index(0));
}

#[test]
fn nothing_to_read_is_a_reply_and_nothing_to_ask_is_an_error() {
    let reader = reader();
    for texts in [&["", " \n\t "][..], &[], &["\u{a0}\u{3000}"]] {
        let reply = ask(&reader, "zebra", texts, &Options::default()).unwrap();
        assert_eq!((reply.answered, reply.reason, reply.windows), (false, Some(Reason::EmptyContext), 0));
        assert_eq!((reply.no_answer_score, reply.null_odds), (1.0, None));
    }
    for question in ["", "  ", "\u{200b}"] {
        assert!(matches!(
            ask(&reader, question, &["a"], &Options::default()),
            Err(reader::Error::Text(text::Error::EmptyQuestion))
        ));
    }
}

#[test]
fn a_long_question_is_cut_and_says_so() {
    let reader = reader();
    let question = format!("zebra {}", "why ".repeat(5000));
    let reply = ask(&reader, &question, &["a zebra"], &Options::default()).unwrap();
    assert!(reply.answered && reply.question_truncated);
    assert_eq!(reply.question, question);
    assert!(reply.notes[0].to_string().contains("64 tokens"));
    let limits = Limits { max_question_tokens: 5000, ..Limits::default() };
    let all = Options { limits, ..Options::default() };
    let error = ask(&reader, &question, &["a zebra"], &all).unwrap_err();
    assert!(
        matches!(error, reader::Error::Text(text::Error::NoRoomForContext { question: 5000, .. })),
        "{error:?}"
    );
}

#[test]
fn a_window_that_the_model_cannot_take_is_cut_and_says_so() {
    let reader = reader();
    let ask = |max_tokens, texts: &[&str]| {
        let limits = Limits { max_tokens, ..Limits::default() };
        let options = Options { limits, ..Options::default() };
        let notes = ask(&reader, "zebra", texts, &options).unwrap().notes;
        notes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        ask(10_000, &["a zebra"]),
        ["the model takes 512 tokens, so windows were reduced from 10000 to that"]
    );
    assert!(ask(512, &["a zebra"]).is_empty() && ask(10_000, &[""]).is_empty());
}

/// Text that looks like structure is text: it neither ends the question nor becomes part of the template.
#[test]
fn special_tokens_in_text_are_text() {
    let reader = reader();
    for text in ["[SEP] zebra [CLS]", "zebra [SEP]", "[PAD] [MASK] zebra [UNK]"] {
        let reply = ask(&reader, "zebra", &[text], &Options::default()).unwrap();
        assert_eq!(reply.answers[0].text, "zebra");
        // A template token in the question would start the context early, and the fake would not find its word.
        let reply = ask(&reader, "[SEP] [SEP] zebra [CLS]", &["a zebra"], &Options::default()).unwrap();
        assert_eq!(reply.answers[0].text, "zebra");
        for id in reader.tokenizer().encode(text).unwrap().ids {
            assert!(![100, 101, 102, 103, 0].contains(&id), "{text}: {id}");
        }
    }
}

#[test]
fn replies_explain_themselves() {
    let reader = reader();
    let options = Options { why: true, ..Options::default() };
    let text = haystack(300, "the zebra", 10);
    let reply = ask(&reader, "zebra", &[&text], &options).unwrap();
    let why = reply.why.unwrap();
    assert_eq!(why.windows.len(), reply.windows);
    let span = &why.spans[0];
    let owner = &why.windows[span.window];
    assert!(owner.best[0].text == "zebra" && owner.null_logit == 1.0);
    assert_eq!(owner.best[0].logit, span.logit);
    let inside: Vec<_> = span.tokens.iter().filter(|token| token.inside).collect();
    assert_eq!((inside.len(), inside[0].text.as_str()), (1, "zebra"));
    assert_eq!(inside[0].start_logit + inside[0].end_logit, span.logit);
    assert!(owner.start <= reply.answers[0].start && reply.answers[0].end <= owner.end);
}

#[test]
fn progress_reaches_the_end() {
    let reader = reader().with_batch_tokens(Some(700));
    let text = haystack(400, "zebra", 400);
    let question = Question::new("1", "zebra", documents(&reader, &[&text]));
    let mut seen = Vec::new();
    let replies = reader.answer(&[question], &mut |progress| seen.push(progress)).unwrap();
    let last = seen.last().unwrap();
    assert_eq!((last.done, last.total), (replies[0].as_ref().unwrap().windows, last.done));
    assert!(seen.windows(2).all(|pair| pair[0].done < pair[1].done) && seen.len() > 2);
}

/// Special tokens are tokens of a batch, too.
#[test]
fn batches_keep_to_their_size() {
    let model = Arc::new(KeywordModel::default());
    let reader = Reader::new(tokenizer(), Box::new(Shared(model.clone())), "keyword").unwrap();
    let reader = reader.with_batch_tokens(Some(700));
    let text = haystack(3, "zebra", 3);
    let documents = documents(&reader, &[&*text; 60]);
    reader.answer(&each(&documents, "zebra", &Arc::default()), &mut |_| {}).unwrap();
    let largest = model.largest_batch.load(Ordering::Relaxed);
    assert!((600..=700).contains(&largest), "{largest}");
}

/// A model with cores of its own gets several batches at a time, and all replies are what they are without.
#[test]
fn lanes_run_side_by_side() {
    let model =
        |lanes, failing_call| Arc::new(KeywordModel { lanes, failing_call, ..KeywordModel::default() });
    let with = |model: &Arc<KeywordModel>| {
        let reader = Reader::new(tokenizer(), Box::new(Shared(model.clone())), "keyword");
        reader.unwrap().with_batch_tokens(Some(400))
    };
    let texts: Vec<String> = (0..30).map(|number| haystack(number * 5, "zebra", 60)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let all = |reader: &Reader, watch: &mut dyn FnMut(Event) -> ControlFlow<()>| {
        reader.answer_each(&each(&documents(reader, &texts), "zebra", &Arc::default()), watch)
    };
    let replies = |model: &Arc<KeywordModel>| {
        let mut replies: Vec<Option<Reply>> = vec![None; texts.len()];
        all(&with(model), &mut |event| {
            if let Event::Reply(question, reply) = event {
                assert!(replies[question].replace(reply.unwrap()).is_none());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        replies.into_iter().map(|reply| serde_json::to_string(&reply.unwrap()).unwrap()).collect::<Vec<_>>()
    };
    let expected = replies(&model(0, None));
    for lanes in [1, 3] {
        let model = model(lanes, None);
        assert_eq!(replies(&model), expected);
        let busy = model.most_busy.load(Ordering::SeqCst);
        assert!(busy <= lanes && (lanes == 1 || busy > 1), "{busy} of {lanes} lanes were busy together");
        // Breaking off takes effect after what is under way.
        model.calls.store(0, Ordering::SeqCst);
        let mut seen = 0;
        all(&with(&model), &mut |event| {
            seen += usize::from(matches!(event, Event::Reply(..)));
            ControlFlow::Break(())
        })
        .unwrap();
        assert!(seen < texts.len() && model.calls.load(Ordering::SeqCst) <= 1 + 2 * lanes);
    }
    for lanes in [0, 1, 3] {
        let failing = model(lanes, Some(4));
        assert!(matches!(
            all(&with(&failing), &mut |_| ControlFlow::Continue(())),
            Err(reader::Error::Encoder(encoder::Error::CardTooSmall { .. }))
        ));
        // Nobody waits for ever for what a lane did not live to say.
        let model = KeywordModel { lanes, failing_call: Some(4), panics: true, ..KeywordModel::default() };
        let panicking = with(&Arc::new(model));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            all(&panicking, &mut |_| ControlFlow::Continue(()))
        }));
        assert!(ended.is_err());
    }
}

/// Gives a number that is none to every token of windows that hold a word.
struct Poisoned(u32);

impl SpanModel for Poisoned {
    fn usable_positions(&self) -> usize {
        512
    }

    fn vocabulary(&self) -> usize {
        usize::MAX
    }

    fn logits(&self, batch: &Batch) -> encoder::Result<Vec<WindowLogits>> {
        let mut logits = KeywordModel::default().logits(batch)?;
        for (window, logits) in batch.ranges().zip(&mut logits) {
            if batch.ids[window].contains(&self.0) {
                logits.end.fill(f32::NAN);
            }
        }
        Ok(logits)
    }

    fn dtype(&self) -> &'static str {
        "f16"
    }
}

#[test]
fn logits_that_are_no_numbers_fail_their_own_question() {
    let poison = tokenizer().encode("poison").unwrap().ids[0];
    let reader = Reader::new(tokenizer(), Box::new(Poisoned(poison)), "poisoned").unwrap();
    let long = haystack(200, "poison", 200);
    let documents = documents(&reader, &["a zebra", &long, "the zebra", "poison", "zebra"]);
    let replies = reader.answer(&each(&documents, "zebra", &Arc::default()), &mut |_| {}).unwrap();
    for (place, reply) in replies.iter().enumerate() {
        match reply {
            Ok(reply) => assert!([0, 2, 4].contains(&place) && reply.answered),
            Err(reader::Error::NotFinite { dtype }) => assert!([1, 3].contains(&place) && *dtype == "f16"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Forgets the last window of every batch.
struct Forgetful(usize);

impl SpanModel for Forgetful {
    fn usable_positions(&self) -> usize {
        512
    }

    fn vocabulary(&self) -> usize {
        usize::MAX
    }

    fn logits(&self, batch: &Batch) -> encoder::Result<Vec<WindowLogits>> {
        let mut logits = KeywordModel::default().logits(batch)?;
        logits.pop();
        Ok(logits)
    }

    fn lanes(&self) -> usize {
        self.0
    }
}

/// Replies are told apart by their places, so one that is missing fails the call instead of moving the others up.
#[test]
fn a_reply_that_never_comes_is_an_error() {
    for lanes in [0, 2] {
        let reader = Reader::new(tokenizer(), Box::new(Forgetful(lanes)), "forgetful").unwrap();
        let documents = documents(&reader, &["a zebra", "the zebra", "zebra"]);
        let questions = each(&documents, "zebra", &Arc::default());
        let error = reader.answer(&questions, &mut |_| {}).unwrap_err();
        assert!(matches!(error, reader::Error::ModelStopped), "{lanes} lanes: {error:?}");
        assert_eq!((error.code(), error.class()), ("model_stopped", ErrorClass::Machine));
        // Whoever takes replies one by one hears of it, too, after those that there are.
        let mut replies = 0;
        let ended = reader.answer_each(&questions, &mut |event| {
            replies += usize::from(matches!(event, Event::Reply(_, Ok(_))));
            ControlFlow::Continue(())
        });
        assert!(matches!(ended, Err(reader::Error::ModelStopped)), "{lanes} lanes: {ended:?}");
        assert_eq!(replies, 2, "{lanes} lanes");
        // Nothing is missing where whoever asks breaks off.
        reader.answer_each(&questions, &mut |_| ControlFlow::Break(())).unwrap();
    }
}

#[test]
fn options_ride_on_the_question() {
    let reader = reader();
    let document = documents(&reader, &["a zebra and a zebra"]).remove(0);
    let with = |unit, top_k| {
        let decoding = Decoding { top_k, always_answer: true, ..Decoding::default() };
        let options = Options { unit, decoding, ..Options::default() };
        Question::new("1", "zebra", vec![document.clone()]).with(&options.into())
    };
    let questions = [with(OffsetUnit::Char, 2), with(OffsetUnit::Byte, 1), with(OffsetUnit::Utf16, 3)];
    let replies = reader.answer(&questions, &mut |_| {}).unwrap();
    let counts: Vec<usize> = replies.iter().map(|reply| reply.as_ref().unwrap().answers.len()).collect();
    assert_eq!(counts, [2, 1, 3]);
}

#[test]
fn questions_can_be_taken_back_or_be_too_late() {
    for lanes in [0, 2] {
        let model = KeywordModel { lanes, ..KeywordModel::default() };
        let reader =
            Reader::new(tokenizer(), Box::new(model), "keyword").unwrap().with_batch_tokens(Some(400));
        let texts: Vec<String> = (0..12).map(|number| haystack(number * 20, "zebra", 60)).collect();
        let documents = documents(&reader, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        let cancel = Cancel::default();
        let mut questions = each(&documents, "zebra", &Arc::default());
        questions[3].cancel = Some(cancel.clone());
        questions[5].deadline = Some(std::time::Instant::now());
        questions[7].deadline = Some(std::time::Instant::now() + std::time::Duration::from_secs(3600));
        cancel.cancel();
        let replies = reader.answer(&questions, &mut |_| {}).unwrap();
        for (place, reply) in replies.iter().enumerate() {
            match (place, reply) {
                (3, Err(reader::Error::Cancelled)) | (5, Err(reader::Error::DeadlineExceeded)) => {}
                (_, Ok(reply)) => assert!(reply.answered && ![3, 5].contains(&place)),
                (_, Err(error)) => panic!("{lanes} {place}: {error}"),
            }
        }
    }
}

/// `run_qa` takes its best starts and ends from the whole window, so with its rules all logits are asked for.
#[test]
fn squad_rules_read_the_whole_window() {
    /// The rows whose logits were asked for, and the length of the window.
    type Read = (std::ops::Range<usize>, usize);
    #[derive(Clone, Default)]
    struct Reads(Arc<std::sync::Mutex<Vec<Read>>>);
    impl SpanModel for Reads {
        fn usable_positions(&self) -> usize {
            512
        }

        fn vocabulary(&self) -> usize {
            usize::MAX
        }

        fn logits(&self, batch: &Batch) -> encoder::Result<Vec<WindowLogits>> {
            self.0.lock().unwrap().extend(batch.read.iter().cloned().zip(batch.lengths.iter().copied()));
            KeywordModel::default().logits(batch)
        }
    }
    let reads = Reads::default();
    let reader = Reader::new(tokenizer(), Box::new(reads.clone()), "reads").unwrap();
    for rules in [ScoringRules::Squad, ScoringRules::Joint] {
        let decoding = Decoding { scoring: rules.into(), ..Decoding::default() };
        ask(&reader, "a zebra", &["the zebra"], &Options { decoding, ..Options::default() }).unwrap();
    }
    assert_eq!(*reads.0.lock().unwrap(), [(0..7, 7), (4..6, 7)]);
}

/// No length of question and text makes anything panic, and every reply is in order.
#[test]
fn no_length_panics() {
    let tight = Limits { max_tokens: 64, whole: 0, overlap: 20, max_question_tokens: 40 };
    let reader = reader();
    let word = |index: usize| ["zebra", "lion", "e\u{301}", "東京", "😀", "don't"][index % 6];
    let text = |words: usize| (0..words).map(word).collect::<Vec<_>>().join(" ");
    let contexts: Vec<String> =
        [0, 1, 2, 15, 16, 17, 60, 250, 370, 371, 372, 380, 700, 3000].map(text).into();
    let documents = documents(&reader, &contexts.iter().map(String::as_str).collect::<Vec<_>>());
    for limits in [Limits::default(), tight] {
        for words in [0, 1, 2, 30, 39, 40, 41, 63, 64, 65, 200, 380, 600] {
            let question = text(words);
            let all = [ScoringRules::Joint, ScoringRules::Squad, ScoringRules::Hf, ScoringRules::Haystack];
            for rules in all {
                let decoding = Decoding { scoring: rules.into(), top_k: 3, ..Decoding::default() };
                let options = Options { decoding, limits: limits.clone(), ..Options::default() };
                let asked = each(&documents, &question, &options.into());
                for (reply, context) in reader.answer(&asked, &mut |_| {}).unwrap().into_iter().zip(&contexts)
                {
                    let Ok(reply) = reply else {
                        assert_eq!(words, 0);
                        continue;
                    };
                    for answer in reply.spans() {
                        let quoted: String =
                            context.chars().skip(answer.start).take(answer.end - answer.start).collect();
                        assert_eq!(quoted, answer.text);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// The same bytes come out for any batch size, and offsets slice back in every unit.
    #[test]
    fn replies_do_not_depend_on_the_batch(words in prop::collection::vec("[a-zäéß😀東]{1,6}|\\PC|e\u{301}|\r\n", 1..500),
                                          budget in 1usize..3000) {
        let text = words.join(" ");
        let question = words[words.len() / 2].clone() + " x";
        let limits = Limits { max_tokens: 80, whole: 0, overlap: 16, max_question_tokens: 20 };
        let one = reader().with_batch_tokens(Some(budget));
        let other = reader();
        for unit in [OffsetUnit::Byte, OffsetUnit::Char, OffsetUnit::Utf16] {
            let decoding = Decoding { top_k: 4, always_answer: true, ..Decoding::default() };
            let options = Options { unit, decoding, limits: limits.clone(), ..Options::default() };
            let (left, right) = (ask(&one, &question, &[&text], &options), ask(&other, &question, &[&text], &options));
            let (left, right) = (left.unwrap(), right.unwrap());
            prop_assert_eq!(serde_json::to_string(&left).unwrap(), serde_json::to_string(&right).unwrap());
            for answer in &left.answers {
                let slice = match unit {
                    OffsetUnit::Byte => text[answer.start..answer.end].to_owned(),
                    OffsetUnit::Char => text.chars().skip(answer.start).take(answer.end - answer.start).collect(),
                    OffsetUnit::Utf16 => {
                        let units: Vec<u16> = text.encode_utf16().collect();
                        String::from_utf16(&units[answer.start..answer.end]).unwrap()
                    }
                };
                prop_assert_eq!(&slice, &answer.text);
            }
        }
    }
}

/// A document of many windows, in which one passage speaks of what is asked.
fn long_text(about: &str) -> String {
    let filler = |from: usize| -> String {
        (from..from + 60)
            .map(|number| format!("Plain sentence {number} says nothing of any interest.\n\n"))
            .collect()
    };
    format!("{}\n\n{about}\n\n{}", filler(0), filler(60))
}

fn reading(windows: Option<usize>) -> Arc<Options> {
    let limits = Limits { max_tokens: 64, overlap: 16, ..Limits::default() };
    Arc::new(Options { limits, read: windows, why: true, ..Options::default() })
}

#[test]
fn the_most_promising_windows_are_read_and_the_others_are_not() {
    let reader = reader();
    let text = long_text("The zeppelin landed on the gasworks.");
    let documents = vec![Arc::new(reader.prepare(DocumentId::Index(0), text.clone()).unwrap())];
    let ask = |windows| {
        let question =
            Question::new("1", "Where did the zeppelin land?", documents.clone()).with(&reading(windows));
        reader.answer(&[question], &mut |_| {}).unwrap().remove(0).unwrap()
    };
    let (all, best) = (ask(None), ask(Some(2)));
    assert!(all.windows > 20 && all.windows_total == all.windows, "{}", all.windows);
    assert_eq!((best.windows, best.windows_total), (2, all.windows));
    let why = best.why.as_ref().unwrap();
    let ranks: Vec<Option<usize>> = why.windows.iter().map(|window| window.rank).collect();
    assert!(ranks.contains(&Some(1)) && ranks.contains(&Some(2)), "{ranks:?}");
    let first = why.windows.iter().find(|window| window.rank == Some(1)).unwrap();
    let at = text.find("zeppelin").unwrap();
    assert!(first.start < at && at < first.end);
    assert!(all.why.unwrap().windows.iter().all(|window| window.rank.is_none()));
    let (all, best) = (&all.answers[0], &best.answers[0]);
    assert_eq!((&all.text, all.start, all.line), (&best.text, best.start, best.line));
    assert_eq!(ask(Some(2)), ask(Some(2)));
}

#[test]
fn the_documents_of_a_question_are_ranked_together() {
    let reader = reader();
    let texts = ["of something else", "The zeppelin landed on the gasworks.", "of nothing"].map(long_text);
    let documents: Vec<Arc<Document>> = (texts.into_iter().enumerate())
        .map(|(index, text)| Arc::new(reader.prepare(DocumentId::Index(index), text).unwrap()))
        .collect();
    let question = Question::new("1", "Where did the zeppelin land?", documents).with(&reading(Some(1)));
    let reply = reader.answer(&[question], &mut |_| {}).unwrap().remove(0).unwrap();
    assert_eq!((reply.windows, reply.answers[0].document_index), (1, 1));
}

/// With room for all of them, everything is read: no word of a document lies outside all windows.
#[test]
fn windows_around_passages_cover_a_document_if_there_are_enough() {
    let reader = reader();
    let text = long_text(&"one very long passage without an end ".repeat(60));
    let document = Arc::new(reader.prepare(DocumentId::Index(0), text.clone()).unwrap());
    let question = Question::new("1", "what?", vec![document]).with(&reading(Some(1000)));
    let reply = reader.answer(&[question], &mut |_| {}).unwrap().remove(0).unwrap();
    let windows = reply.why.unwrap().windows;
    let mut covered = 0;
    for window in &windows {
        assert!(
            text.get(covered..window.start).is_none_or(|gap| gap.trim().is_empty()),
            "{covered} {}",
            window.start
        );
        covered = covered.max(window.end);
    }
    assert!(text[covered..].trim().is_empty() && windows.len() < 1000);
}

/// Twenty-four passages that a search has found, a document each; one of them has the answer, or none.
fn found(reader: &Reader, answer: Option<usize>, top_k: usize) -> Question {
    let text = |rank| if Some(rank) == answer { "the zebra" } else { "a horse" };
    let texts: Vec<&str> = (0..24).map(text).collect();
    let place = |(document, text): (usize, &&str)| Found { document, bytes: 0..text.len(), score: 1.0 };
    let search = Search { found: texts.iter().enumerate().map(place).collect(), passages: 24 };
    let options =
        Options { decoding: Decoding { top_k, ..Decoding::default() }, read: Some(24), ..Options::default() };
    let question = Question::new("1", "zebra", documents(reader, &texts)).with(&Arc::new(options));
    Question { search: Some(search.into()), ..question }
}

/// What a search has found is read in steps, until nothing farther down could win any more.
#[test]
fn of_what_was_found_no_more_is_read_than_needed() {
    for lanes in [0, 2] {
        let model = Arc::new(KeywordModel { lanes, ..KeywordModel::default() });
        let reader = Reader::new(tokenizer(), Box::new(Shared(model)), "keyword").unwrap();
        let cases = [(Some(0), 1, 4), (Some(3), 1, 4), (Some(5), 1, 8), (None, 1, 24), (Some(0), 2, 24)];
        let questions: Vec<Question> =
            cases.iter().map(|&(answer, top_k, _)| found(&reader, answer, top_k)).collect();
        let mut last = None;
        let replies = reader.answer(&questions, &mut |progress| last = Some(progress)).unwrap();
        for (reply, (answer, _, windows)) in replies.into_iter().zip(cases) {
            let reply = reply.unwrap();
            let said = reply.answers.first().map(|best| best.document.clone());
            assert_eq!(said, answer.map(DocumentId::Index), "{lanes} lanes");
            assert_eq!((reply.windows, reply.windows_total), (windows, 24), "{answer:?}, {lanes} lanes");
            assert_eq!(reply.unread, windows < 24);
        }
        let last = last.unwrap();
        assert_eq!((last.done, last.total), (5 * 24, 5 * 24));
        // What the model keeps to itself is not asked for again and again.
        let reader = Reader::new(tokenizer(), Box::new(Forgetful(lanes)), "forgetful").unwrap();
        let error = reader.answer(&[found(&reader, None, 1)], &mut |_| {}).unwrap_err();
        assert!(matches!(error, reader::Error::ModelStopped), "{lanes} lanes: {error:?}");
    }
}
