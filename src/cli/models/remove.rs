//! `spanqa models remove`: what was fetched leaves the cache.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use spanqa::source::{self, Cached, HubRepo, Reference, SourceOptions};

use super::readable;
use crate::cli::terminal::name;
use crate::cli::{Outcome, Usage};

pub fn run(
    models: &[String],
    yes: bool,
    options: &SourceOptions,
    out: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    // Whatever is wrong is said before anything is gone.
    let repos =
        models.iter().map(|model| repository(model, options)).collect::<anyhow::Result<Vec<HubRepo>>>()?;
    let mut outcome = Outcome::Success;
    for repo in repos {
        let Some(cached) = options.cached(&repo)? else {
            eprintln!("{} is not in the cache", repo.id());
            outcome = Outcome::Negative;
            continue;
        };
        if !(yes || confirmed(&cached)?) {
            eprintln!("kept {}", cached.repo);
            outcome = Outcome::Negative;
        } else if let Some(removed) = options.remove(&repo)? {
            writeln!(out, "removed {}, which frees {}", removed.repo, readable(removed.bytes))?;
        }
    }
    Ok(outcome)
}

/// The repository that a model was fetched from, if it is one that can be removed.
fn repository(model: &str, options: &SourceOptions) -> anyhow::Result<HubRepo> {
    let shown = name(model);
    let folder =
        (format!("{shown} is a folder, not a fetched model"), "a folder is yours to remove".to_owned());
    let (what, hint) = match Reference::parse(model, &options.registry()?) {
        Ok(Reference::Repo(repo, _)) if !model.contains('@') => return Ok(repo),
        Ok(Reference::Repo(repo, _)) => (
            format!("all revisions of a repository are removed together, so {shown} cannot go alone"),
            format!("`spanqa models remove {}`", repo.id()),
        ),
        Ok(Reference::BuiltIn(_)) => (
            format!("{shown} is inside this program and cannot be removed"),
            "`spanqa models list` shows what takes room on disk".to_owned(),
        ),
        Ok(Reference::Folder(..)) => folder,
        Err(_) if Path::new(model).is_dir() => folder,
        Err(source::Error::UnknownModel { near, .. }) => {
            let all = "`spanqa models list` shows what was fetched";
            let hint = match near.as_slice() {
                [] => all.to_owned(),
                near => format!("did you mean {}? {all}", near.join(" or ")),
            };
            (format!("there is no model named `{shown}`"), hint)
        }
        Err(error) => return Err(error.into()),
    };
    Err(Usage::new(what, hint).into())
}

/// Asks whoever sits at the terminal.
fn confirmed(cached: &Cached) -> anyhow::Result<bool> {
    let Cached { repo, revisions, bytes, folder } = cached;
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        let what = format!("nobody is here to ask whether {repo} may be removed");
        return Err(Usage::new(what, "`--yes` removes it without asking").into());
    }
    let revisions = match revisions {
        1 => "1 revision".to_owned(),
        several => format!("{several} revisions"),
    };
    let folder = folder.display().to_string();
    eprint!("remove {repo} ({revisions}, {}) from {}? [y/N] ", readable(*bytes), name(&folder));
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        assert!(["y", " Yes\r\n", "YES"].into_iter().all(is_yes));
        assert!(!["", "\n", "n", "yep", "y y"].into_iter().any(is_yes));
    }
}
