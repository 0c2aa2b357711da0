//! Folders that commands write to.

use std::path::Path;

use anyhow::Result;

use super::terminal;

/// Makes a folder for what is about to be written, and says so where more than its last part is new: that may be a typing error.
pub fn make_folder(folder: &Path, quiet: bool) -> Result<()> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    let new_parent = parent.filter(|parent| !parent.exists());
    std::fs::create_dir_all(folder)
        .map_err(|source| spanqa::fs::Error::Write { path: folder.to_owned(), source })?;
    if let Some(parent) = new_parent.filter(|_| !quiet) {
        terminal::note(format!("{} did not exist and was made", parent.display()));
    }
    Ok(())
}
