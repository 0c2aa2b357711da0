//! Whether a quotation stands in the files below the roots.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::files::{File, Files};
use super::patience::Patience;
use super::quote::{Difference, LONGEST, Match, Quotation, differences};
use super::roots::uri;
use super::tools::{MOST_CHARACTERS, beginning};
use crate::text::offsets::{OffsetUnit, place};

/// Characters of what stands there, and of the differences, that one call gives at most.
const MOST_SHOWN: usize = MOST_CHARACTERS / 2;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyQuote {
    quote: String,
    path: Option<String>,
}

pub fn verify_quote(files: &Files, patience: &Patience, asked: VerifyQuote) -> Result<Value, String> {
    let quotation = Quotation::new(&asked.quote).ok_or("the quotation is empty")?;
    let path = asked.path.map(|path| vec![path]);
    let chosen = files.choose(path.as_deref(), patience)?;
    if let ([], [reason, ..]) = (chosen.files.as_slice(), chosen.unreadable.as_slice()) {
        return Err(reason.clone());
    }
    let mut best: Option<(u32, f64, &Arc<File>, Match)> = None;
    for file in &chosen.files {
        patience.check("name the `path` to look in")?;
        let Some(found) = quotation.find(&file.text.text) else { continue };
        let (rank, likeness) = match &found {
            Match::Exact(_) => (2, 1.0),
            Match::Normalised(_) => (1, 1.0),
            Match::Near { likeness, .. } => (0, *likeness),
        };
        if best.as_ref().is_none_or(|(known, like, ..)| (rank, likeness) > (*known, *like)) {
            best = Some((rank, likeness, file, found));
        }
        if rank == 2 {
            break;
        }
    }
    let mut verdict = json!({"verdict": "absent", "files": chosen.looked_through, "more_files": chosen.more});
    let Some((_, likeness, file, found)) = best else {
        // Something like it may stand there.
        return match quotation.is_long() {
            true => Err(format!(
                "the quotation does not stand there as it is, and it has more than {LONGEST} words, too many to look for what is \
                 nearest: check it in parts"
            )),
            false => Ok(verdict),
        };
    };
    let (name, bytes) = match found {
        Match::Exact(bytes) => ("exact", bytes),
        Match::Normalised(bytes) => ("normalised", bytes),
        Match::Near { bytes, .. } => ("near", bytes),
    };
    let at = place(&file.text.text, &bytes, OffsetUnit::Char);
    let text = file.text.text.get(bytes).unwrap_or_default();
    let shown = beginning(text, MOST_SHOWN);
    let mut is_cut = shown.len() < text.len();
    verdict["verdict"] = name.into();
    verdict["uri"] = uri(&file.path).into();
    verdict["document"] = files.roots().short(&file.path).display().to_string().into();
    verdict["line"] = at.line.into();
    verdict["column"] = at.column.into();
    verdict["text"] = shown.into();
    verdict["likeness"] = likeness.into();
    if name != "exact" {
        match differences(&asked.quote, text).filter(|all| length(all) <= MOST_SHOWN) {
            Some(differences) => verdict["differences"] = json!(differences),
            None => is_cut = true,
        }
    }
    if is_cut {
        verdict["cut"] = true.into();
    }
    Ok(verdict)
}

fn length(differences: &[Difference]) -> usize {
    let words = differences.iter().map(|difference| match difference {
        Difference::OnlyQuoted(words) | Difference::OnlyInText(words) => words,
    });
    words.map(|words| words.chars().count()).sum()
}
