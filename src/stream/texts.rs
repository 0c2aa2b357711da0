//! Texts on their way to vectors: read and tokenised on all cores, put to the model in groups, handed out in their order.

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::prepare::AHEAD;
use super::turn::{Over, Turn};
use super::{Done, Error, Queue, Result, gather};
use crate::document::{self, Text};
use crate::embed::{self, Embedder, Event, Tokenised};
use crate::text::BYTES_PER_TOKEN;
use crate::text::offsets::{OffsetUnit, counted};

/// A text that wants a vector. `T` is whatever tells the receiver whose it is.
pub struct Incoming<T> {
    /// Whose it is.
    pub ticket: T,
    /// The text, or why there is none.
    pub source: Result<TextSource>,
}

/// A text, or where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextSource {
    /// The text itself.
    Text(String),
    /// The text of a file that has been read.
    Document(Box<Text>),
    /// A file that holds it.
    File(PathBuf),
}

impl<T> Incoming<T> {
    /// About the memory that it takes, in bytes.
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 256;
        OVERHEAD
            + match &self.source {
                Ok(TextSource::Text(text)) => text.len(),
                Ok(TextSource::Document(document)) => document.text.len(),
                Ok(TextSource::File(_)) | Err(_) => 0,
            }
    }

    /// About the text that has to be tokenised, in bytes.
    fn bytes(&self) -> usize {
        match &self.source {
            Ok(TextSource::Text(text)) => text.len(),
            Ok(TextSource::Document(document)) => document.text.len(),
            Ok(TextSource::File(path)) => path.metadata().map_or(0, |about| about.len() as usize),
            Err(_) => 0,
        }
    }
}

/// A text that is ready for the model.
pub struct TextWork<T> {
    /// Whose it is.
    pub ticket: T,
    /// Its tokens, or why there are none.
    pub text: Result<Tokenised>,
}

impl<T> TextWork<T> {
    /// About how much memory and time it takes, in tokens.
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 64;
        OVERHEAD + self.text.as_ref().map_or(0, |text| text.ids.len())
    }
}

/// What comes of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// Its vector, or those of its tokens.
    pub vector: Vec<f32>,
    /// The tokens that were read, if each has its vector.
    pub pieces: Vec<Piece>,
    /// Its tokens, special ones included.
    pub tokens: usize,
    /// Whether the vector is that of its beginning, because there are more tokens than the model reads.
    pub truncated: bool,
}

/// A token of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Its id.
    pub id: u32,
    /// Where it starts in the text, in code points.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// Reads and tokenises texts on several threads and pushes them into a queue in their order. `read` opens files.
pub fn tokenise_each<T: Send>(
    embedder: &Embedder,
    read: &(dyn Fn(&Path) -> document::Result<Text> + Sync),
    texts: impl Iterator<Item = Incoming<T>> + Send,
    threads: usize,
    queue: &Queue<TextWork<T>>,
) {
    let turn = Turn::default();
    turn.deal(texts, threads, queue, |incoming, number| {
        // One large text at a time is enough.
        if incoming.bytes() > AHEAD * BYTES_PER_TOKEN {
            turn.wait_for(number)?;
        }
        let Incoming { ticket, source } = incoming;
        let text = source.and_then(|source| tokenised(embedder, read, source));
        let work = TextWork { ticket, text };
        turn.wait_for(number)?;
        queue.push(work.weight(), work).map_err(|_| Over)?;
        turn.pass();
        Ok(())
    });
}

fn tokenised(
    embedder: &Embedder,
    read: &(dyn Fn(&Path) -> document::Result<Text> + Sync),
    source: TextSource,
) -> Result<Tokenised> {
    let document = match source {
        TextSource::Text(text) => text.into(),
        TextSource::Document(document) => *document,
        TextSource::File(path) => read(&path)?,
    };
    let mut tokenised = embedder.tokenise(document.seen())?;
    if let Some(view) = &document.seen {
        for (start, end) in tokenised.offsets.iter_mut().filter(|(start, end)| start < end) {
            let original = view.original(*start..*end);
            (*start, *end) = (original.start, original.end);
        }
    }
    let ranges: Vec<Range<usize>> = tokenised.offsets.iter().map(|&(start, end)| start..end).collect();
    let counted = counted(&document.text, &ranges, OffsetUnit::Char).into_iter();
    tokenised.offsets = counted.map(|range| (range.start, range.end)).collect();
    Ok(tokenised)
}

/// Makes the vectors of everything that comes out of the queue, in groups of about `group` tokens, and hands them out in the order
/// of the queue until it ends or `emit` breaks off, which takes effect once the batches in flight are through.
pub fn embed_stream<T>(
    embedder: &Embedder,
    work: &Queue<TextWork<T>>,
    group: usize,
    emit: &mut dyn FnMut(Done<T, Embedded>) -> ControlFlow<()>,
) -> Result<()> {
    while let Some(gathered) = gather(work, group, TextWork::weight) {
        if embed_group(embedder, gathered, emit)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// A text whose turn to be handed out has not come.
struct Held<T> {
    ticket: T,
    tokens: usize,
    truncated: bool,
    pieces: Vec<Piece>,
    /// Absent until the model has read it.
    vector: Option<Result<Vec<f32>>>,
}

fn embed_group<T>(
    embedder: &Embedder,
    gathered: Vec<TextWork<T>>,
    emit: &mut dyn FnMut(Done<T, Embedded>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
    if emit(Done::Began { work: gathered.len() }).is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let (mut texts, mut places) = (Vec::new(), Vec::new());
    let mut held: Vec<Option<Held<T>>> = Vec::with_capacity(gathered.len());
    for (place, TextWork { ticket, text }) in gathered.into_iter().enumerate() {
        let (tokens, truncated) = text.as_ref().map_or((0, false), |text| (text.tokens, text.truncated()));
        let pieces = text.as_ref().map_or(Vec::new(), pieces);
        let vector = match text {
            Ok(text) => {
                texts.push(text);
                places.push(place);
                None
            }
            Err(error) => Some(Err(error)),
        };
        held.push(Some(Held { ticket, tokens, truncated, pieces, vector }));
    }
    let mut next = 0;
    let mut flow = hand_out(&mut held, &mut next, emit);
    if flow.is_break() {
        return Ok(flow);
    }
    embedder.embed_each(&texts, &mut |event| {
        flow = match event {
            Event::Read { texts, tokens, model } => emit(Done::Read { windows: texts, tokens, model }),
            Event::Vector(text, vector) => {
                if let Some(Some(held)) = held.get_mut(places[text]) {
                    held.vector = Some(vector.map_err(Error::from));
                }
                hand_out(&mut held, &mut next, emit)
            }
        };
        flow
    })?;
    match flow.is_break() || next == held.len() {
        true => Ok(flow),
        false => Err(embed::Error::ModelStopped.into()),
    }
}

/// The tokens of a text that is to keep them.
fn pieces(text: &Tokenised) -> Vec<Piece> {
    text.ids.iter().zip(&text.offsets).map(|(&id, &(start, end))| Piece { id, start, end }).collect()
}

/// Hands out what is ready, as far as nothing before it is missing.
fn hand_out<T>(
    held: &mut [Option<Held<T>>],
    next: &mut usize,
    emit: &mut dyn FnMut(Done<T, Embedded>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    while let Some(slot) = held.get_mut(*next)
        && slot.as_ref().is_some_and(|held| held.vector.is_some())
    {
        let Some(Held { ticket, tokens, truncated, pieces, vector: Some(vector) }) = slot.take() else {
            break;
        };
        *next += 1;
        let embedded = vector.map(|vector| Embedded { vector, pieces, tokens, truncated }).map_err(Arc::new);
        emit(Done::Reply(ticket, embedded))?;
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::ModelFiles;
    use crate::embed::Overrides;
    use crate::encoder::Runtime;
    use crate::fs;

    fn embedder() -> Embedder {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny/minilm");
        let files = ModelFiles::from_dir(&folder).unwrap();
        let wanted = Overrides { force: true, ..Overrides::default() };
        Embedder::open_with(&files, &Runtime::default(), &wanted).unwrap().with_batch_tokens(Some(20))
    }

    /// Texts of different lengths; every fifth is a file, and there are no files.
    fn texts(count: usize) -> impl Iterator<Item = Incoming<usize>> + Send {
        (0..count).map(|number| {
            let source = match number % 5 {
                0 => TextSource::File(number.to_string().into()),
                _ => TextSource::Text("the old king ".repeat(number % 7)),
            };
            Incoming { ticket: number, source: Ok(source) }
        })
    }

    fn missing(path: &Path) -> document::Result<Text> {
        let source = std::io::ErrorKind::NotFound.into();
        Err(fs::Error::Read { path: path.to_owned(), source }.into())
    }

    /// What comes out for so many texts, of which `emit` takes `wanted`.
    fn stream(count: usize, wanted: usize) -> Vec<(usize, bool)> {
        let (embedder, queue) = (embedder(), Queue::new(500));
        let mut seen = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                tokenise_each(&embedder, &missing, texts(count), 3, &queue);
                queue.end();
            });
            embed_stream(&embedder, &queue, 500, &mut |done| {
                if let Done::Reply(ticket, embedded) = done {
                    seen.push((ticket, embedded.is_ok()));
                }
                if seen.len() < wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
            .unwrap();
            queue.abandon();
        });
        seen
    }

    #[test]
    fn vectors_come_in_the_order_of_the_texts_and_a_failure_is_its_own() {
        let expected: Vec<(usize, bool)> = (0..200).map(|number| (number, number % 5 != 0)).collect();
        assert_eq!(stream(200, usize::MAX), expected);
        // A number of texts that fills no group, and none.
        assert_eq!(stream(3, usize::MAX), expected[..3]);
        assert!(stream(0, usize::MAX).is_empty());
    }

    #[test]
    fn nobody_waits_once_enough_was_taken() {
        assert_eq!(stream(usize::MAX, 30).len(), 30);
    }
}
