//! The file that `--output` names, looked at before anything is read.

use std::path::Path;

use anyhow::Result;

use super::{Usage, terminal};

/// Refuses a folder; `example` is a name that would do.
pub fn refuse_folder(target: &Path, example: &str) -> Result<()> {
    if target.is_dir() {
        let hint = format!("give the name of a file, such as {example}");
        return Err(Usage::new(format!("{} is a folder", shown(target)), hint).into());
    }
    Ok(())
}

/// Refuses a file that is there, unless it may be replaced.
pub fn refuse_present(target: &Path, force: bool) -> Result<()> {
    if target.is_file() && !force {
        let hint = "`--force` replaces it, or give `--output` another name";
        return Err(Usage::new(format!("{} is there already", shown(target)), hint).into());
    }
    Ok(())
}

fn shown(target: &Path) -> String {
    terminal::name(&target.display().to_string()).into_owned()
}
