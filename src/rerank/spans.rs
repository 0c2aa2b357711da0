//! Asks the question of each passage: by how much does its best span lead "no answer"?

use std::sync::Arc;

use rayon::prelude::*;

use super::{Corpus, Ranking, Result, Scored, Task};
use crate::reader::{self, Progress, Question, Reader};
use crate::request::Options;
use crate::request::reply::{Answer, DocumentId, Note, Reply};
use crate::text::offsets::{OffsetUnit, place};

/// What the reader makes of the chosen passages, each a document of its own: their margins are each one's own.
pub(super) fn rank(
    reader: &Reader,
    options: &Arc<Options>,
    tasks: &[Task],
    chosen: Vec<Result<Vec<Scored>>>,
    unit: OffsetUnit,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Result<Ranking>>> {
    let asked = tasks.par_iter().zip(chosen).map(|(task, chosen)| {
        let chosen = chosen?;
        let questions = chosen.par_iter().map(|scored| question(reader, options, task, scored));
        let questions: reader::Result<Vec<Question>> = questions.collect();
        Ok((chosen, questions?))
    });
    let mut asked: Vec<Result<(Vec<Scored>, Vec<Question>)>> = asked.collect();
    let mut questions = Vec::new();
    asked.iter_mut().flatten().for_each(|(_, own)| questions.append(own));
    let mut replies = reader.answer(&questions, progress)?.into_iter();
    let read = asked.into_iter().zip(tasks).map(|(asked, task)| {
        let (chosen, _) = asked?;
        // All of them are taken, whatever is wrong with the first: the next ones are another task's.
        let own: Vec<reader::Result<Reply>> = replies.by_ref().take(chosen.len()).collect();
        let mut ranking = Ranking::of(chosen);
        for (scored, reply) in ranking.scored.iter_mut().zip(own) {
            let reply = reply?;
            ranking.query_truncated |=
                reply.notes.iter().any(|note| matches!(note, Note::QuestionCut { .. }));
            let best = reply.spans().first();
            scored.score = best.map(|best| best.margin.into());
            scored.answer = best.map(|best| in_document(best, task.corpus, scored, unit));
        }
        Ok(ranking)
    });
    Ok(read.collect())
}

fn question(
    reader: &Reader,
    options: &Arc<Options>,
    task: &Task,
    scored: &Scored,
) -> reader::Result<Question> {
    let text = task.corpus.part(scored.document, scored.passage);
    let document = reader.prepare_document(DocumentId::Index(0), text)?;
    Ok(Question::new(0, task.query, vec![document.into()]).with(options))
}

/// A span of a passage as one of the document that the passage is from.
fn in_document(answer: &Answer, corpus: &Corpus, scored: &Scored, unit: OffsetUnit) -> Answer {
    let source = &corpus.sources[scored.document];
    let before = corpus.range(scored.document, scored.passage).start;
    let bytes = before + answer.bytes.start..before + answer.bytes.end;
    let at = place(&source.text.text, &bytes, unit);
    Answer {
        start: at.start,
        end: at.end,
        document: source.id.clone(),
        line: at.line,
        column: at.column,
        source: source.text.origin.place(&source.text.text, &bytes),
        document_index: scored.document,
        bytes,
        ..answer.clone()
    }
}
