//! An evaluation for people.

use std::io::Write;

use anyhow::Result;
use spanqa::eval::analysis::stats::{Calibration, Sureness};
use spanqa::eval::analysis::{Estimate, OutcomeTable, Outcomes, Point};
use spanqa::eval::open::{Retrieval, Stage};
use spanqa::eval::results::{About, AlwaysAnswering, Evaluation, Speed};

pub(super) fn print(found: &Evaluation, out: &mut dyn Write) -> Result<()> {
    let About { name, questions, answerable, articles, .. } = found.dataset;
    writeln!(out, "{name}: {questions} questions about {articles} articles, {answerable} with an answer")?;
    writeln!(out, "{}, scored by {} rules\n", found.answers, found.rules)?;
    writeln!(out, "{:<14}{:>9}  {:^24}{:^24}", "", "questions", "exact", "F1")?;
    for part in &found.parts {
        let cell = |estimate: &Estimate| {
            let Estimate { mean, interval } = estimate;
            format!("{mean:>7.2}  [{:.2}, {:.2}]", interval.low, interval.high)
        };
        let (exact, f1) = (cell(&part.exact), cell(&part.f1));
        writeln!(out, "{:<14}{:>9}  {exact:<24}{f1:<24}", part.name, part.questions)?;
    }
    writeln!(out, "in brackets: 95 % bootstrap interval\n")?;
    if let Some(always) = &found.always_answering {
        let AlwaysAnswering { has_answer_exact, has_answer_f1 } = always;
        writeln!(
            out,
            "made to answer: exact {has_answer_exact:.2}, F1 {has_answer_f1:.2} where there is an answer"
        )?;
    }
    if let Some(retrieval) = &found.retrieval {
        let Retrieval { texts, passages, .. } = retrieval;
        writeln!(
            out,
            "{:<30}{:>8}{:>8}{:>8}{:>8}",
            "its own paragraph, by", "first", "of 5", "of 20", "MRR"
        )?;
        for stage in &retrieval.stages {
            let Stage { by, hit_1, hit_5, hit_20, mrr, .. } = stage;
            writeln!(out, "{by:<30}{hit_1:>8.1}{hit_5:>8.1}{hit_20:>8.1}{mrr:>8.3}")?;
        }
        writeln!(out, "in percent, of {texts} texts with {passages} passages\n")?;
    }
    if let Some(sweep) = &found.thresholds {
        let point = |point: &Point| match point.threshold {
            Some(threshold) => format!("threshold {threshold:.3}"),
            None => "abstaining always".into(),
        };
        let (exact, f1) = (&sweep.best_exact, &sweep.best_f1);
        writeln!(
            out,
            "best threshold (optimistic: tuned on the test data): exact {:.2} ({}), F1 {:.2} ({})",
            exact.exact,
            point(exact),
            f1.f1,
            point(f1)
        )?;
    }
    if let Some(calibration) = &found.calibration {
        let Calibration { of, ece, brier, .. } = calibration;
        let of = if *of == Sureness::Confidence { " of the confidence" } else { "" };
        writeln!(out, "calibration{of}: ECE {ece:.3}, Brier {brier:.3}")?;
    }
    if let Some(table) = &found.outcomes {
        outcomes(table, out)?;
    }
    for (title, groups) in [
        ("question word", &found.groups.question_word),
        ("answer, words", &found.groups.answer_words),
        ("context, words", &found.groups.context_words),
    ] {
        writeln!(out, "\n{title:<16}{:>9}{:>9}{:>9}", "questions", "exact", "F1")?;
        for group in groups.iter().filter(|group| group.questions > 0) {
            writeln!(out, "{:<16}{:>9}{:>9.2}{:>9.2}", group.name, group.questions, group.exact, group.f1)?;
        }
    }
    if let Some(speed) = &found.speed {
        let Speed { seconds, questions_per_second, tokens_per_second } = speed;
        writeln!(
            out,
            "\n{seconds:.1} s, {questions_per_second:.1} questions/s, {tokens_per_second:.0} tokens/s"
        )?;
    }
    Ok(())
}

/// Right, wrong and refused, as a person counts.
fn outcomes(table: &OutcomeTable, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "\n{:<30}{:<38}without one", "", "with an answer")?;
    writeln!(
        out,
        "{:<30}{:<6}{:>7}{:>9}{:>8}{:>5}   {:>7}{:>5}",
        "", "right", "wrong", "refused", "forced", "of", "refused", "of"
    )?;
    for group in std::iter::once(&table.all).chain(&table.kind).chain(&table.windows) {
        let Outcomes { name, answerable, right, wrong, refused_wrongly, forced, .. } = group;
        let Outcomes { unanswerable, refused_rightly, .. } = group;
        writeln!(
            out,
            "{name:<30}{right:>5}{wrong:>8}{refused_wrongly:>9}{forced:>8}{answerable:>5}   {refused_rightly:>7}{unanswerable:>5}"
        )?;
    }
    Ok(())
}
