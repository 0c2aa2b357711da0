//! The part of an evaluation's page that lists what was lost: each question with its passage, to be searched.

use std::fmt::Write;
use std::ops::Range;

use crate::eval::analysis::losses::{Kind, Loss};
use crate::report::html::Page;
use crate::report::text::escape;

/// Bytes of the passage that are shown on either side of an answer.
const AROUND: usize = 140;

/// Shows the first losses of each kind, more of them on request, and those with certain words. Without scripts all of them are there.
/// No `<` stands in it, so that the page can be taken apart like any other.
const SCRIPT: &str = "<script>(() => {
const box = document.getElementById('search'), found = document.getElementById('found'), STEP = 50;
const groups = [...document.querySelectorAll('details.losses')].map(group => ({
  group, more: group.querySelector('button'), limit: STEP,
  losses: [...group.querySelectorAll('.loss')].map(loss => [loss, loss.textContent.toLowerCase()]),
}));
const show = () => {
  const words = box.value.toLowerCase().split(/\\s+/).filter(word => word);
  let all = 0;
  for (const of of groups) {
    let hits = 0;
    for (const [loss, text] of of.losses) {
      const hit = words.every(word => text.includes(word));
      hits += hit;
      loss.hidden = !hit || hits > of.limit;
    }
    of.more.hidden = of.limit >= hits;
    of.more.textContent = `show ${Math.min(STEP, hits - of.limit)} more of ${hits}`;
    if (words.length) of.group.open = hits > 0;
    all += hits;
  }
  found.textContent = words.length ? `${all} found` : '';
};
for (const of of groups) of.more.onclick = () => { of.limit += STEP; show(); };
box.oninput = () => { for (const of of groups) of.limit = STEP; show(); };
box.hidden = false;
show();
})();</script>
";

/// Writes the section. Where `margins` are logits, they are shown as such.
pub(super) fn section(page: &mut Page, losses: &[Loss], margins: bool) {
    page.heading("Losses");
    page.paragraph(&format!("{} questions were not answered exactly.", losses.len()));
    if losses.is_empty() {
        return;
    }
    page.markup(
        "<p class=\"dim\">In a passage the <mark class=\"gold\">expected answer</mark>, \
         the <mark class=\"said\">best span</mark> and <mark class=\"both\">what is part of both</mark> are marked.",
    );
    if margins {
        page.markup(" The margin is the lead of the best span over \"no answer\" in logits.");
    }
    page.markup(
        "</p>\n<p><input id=\"search\" type=\"search\" placeholder=\"words in question, answers or passage\" \
         aria-label=\"Search the losses\" size=\"36\" hidden/> <span id=\"found\" class=\"dim\"></span></p>\n",
    );
    for kind in Kind::ALL {
        let of_kind: Vec<&Loss> = losses.iter().filter(|loss| loss.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        page.details("losses", &format!("{}: {}", kind.name(), of_kind.len()), |page| {
            of_kind.iter().for_each(|loss| page.markup(&entry(loss, margins)));
            page.markup("<p><button type=\"button\" hidden>more</button></p>\n");
        });
    }
    page.markup(SCRIPT);
}

/// A question that lost points.
fn entry(loss: &Loss, margins: bool) -> String {
    let expected = if loss.expected.is_empty() { "no answer".into() } else { loss.expected.join(" / ") };
    let answer = match (loss.answer, loss.best) {
        ("", Some(best)) => format!("no answer (best: {best})"),
        ("", None) => "no answer".into(),
        (answer, _) => answer.to_owned(),
    };
    let mut facts = vec![format!("F1 {:.2}", loss.f1)];
    match loss.null_odds {
        Some(odds) if margins => facts.push(format!("margin {:+.2}", -odds)),
        Some(score) => facts.push(format!("no-answer score {score:.3}")),
        None => {}
    }
    if !loss.article.is_empty() {
        facts.push(loss.article.to_owned());
    }
    facts.push(loss.id.to_owned());
    format!(
        "<div class=\"loss\"><p><b>{}</b></p><p>expected: {}<br/>answer: {}</p><p>{}</p><p class=\"dim\">{}</p></div>\n",
        escape(loss.question),
        escape(&expected),
        escape(&answer),
        passage(loss.context, loss.gold_at.as_ref(), loss.best_at.as_ref()),
        escape(&facts.join(" · "))
    )
}

/// What stands around the expected answer and the best span, with both marked.
fn passage(context: &str, gold: Option<&Range<usize>>, best: Option<&Range<usize>>) -> String {
    let marks: Vec<&Range<usize>> = gold.into_iter().chain(best).collect();
    let mut shown: Vec<Range<usize>> = match marks[..] {
        [] => vec![0..boundary(context, 2 * AROUND)],
        _ => marks.iter().map(|mark| around(context, mark)).collect(),
    };
    shown.sort_by_key(|part| part.start);
    shown.dedup_by(|later, earlier| {
        let joins = later.start <= earlier.end;
        if joins {
            earlier.end = earlier.end.max(later.end);
        }
        joins
    });
    let mut text = String::new();
    for part in &shown {
        // Between two parts the end of the first one says it.
        if part.start > 0 && text.is_empty() {
            text.push_str("… ");
        }
        let mut edges: Vec<usize> = marks.iter().flat_map(|mark| [mark.start, mark.end]).collect();
        edges.extend([part.start, part.end]);
        edges.retain(|edge| (part.start..=part.end).contains(edge));
        edges.sort_unstable();
        edges.dedup();
        for pair in edges.windows(2) {
            let piece = escape(&context[pair[0]..pair[1]]);
            let inside = |mark: Option<&Range<usize>>| mark.is_some_and(|mark| mark.contains(&pair[0]));
            // Writing to a string cannot fail.
            let _ = match (inside(gold), inside(best)) {
                (true, true) => write!(text, "<mark class=\"both\">{piece}</mark>"),
                (true, false) => write!(text, "<mark class=\"gold\">{piece}</mark>"),
                (false, true) => write!(text, "<mark class=\"said\">{piece}</mark>"),
                (false, false) => write!(text, "{piece}"),
            };
        }
        if part.end < context.len() {
            text.push_str(" … ");
        }
    }
    text
}

fn around(context: &str, mark: &Range<usize>) -> Range<usize> {
    let start = boundary(context, mark.start.saturating_sub(AROUND));
    start..boundary(context, mark.end + AROUND)
}

/// The character boundary at or before a byte.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passage_shows_both_answers() {
        assert_eq!(
            passage("the <old> king slept", Some(&(4..14)), Some(&(10..20))),
            "the <mark class=\"gold\">&lt;old&gt; </mark><mark class=\"both\">king</mark><mark class=\"said\"> slept</mark>"
        );
        assert_eq!(passage("short", None, None), "short");
        let long = format!("{} king {} queen {}", "é ".repeat(300), "中".repeat(300), "x".repeat(300));
        let at = |word: &str| {
            let start = long.find(word).unwrap();
            start..start + word.len()
        };
        let two = passage(&long, Some(&at("king")), Some(&at("queen")));
        assert!(two.starts_with("… ") && two.ends_with(" … "), "{two}");
        assert!(
            two.contains("<mark class=\"gold\">king</mark>")
                && two.contains("<mark class=\"said\">queen</mark>")
        );
        assert_eq!(two.matches('…').count(), 3);
        let one = passage(&long, None, None);
        assert!(one.len() < 400 && one.ends_with(" … "), "{one}");
    }

    #[test]
    fn the_script_can_be_taken_for_text() {
        let inside = SCRIPT.strip_prefix("<script>").and_then(|rest| rest.split_once("</script>"));
        assert!(!inside.unwrap().0.contains('<'));
    }
}
