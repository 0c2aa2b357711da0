//! The one line that tells a newcomer which model answered, said once per machine.

use std::fs::{self, OpenOptions};

/// Says it unless it was said before. A marker in the user's cache folder remembers; where there is none to write, the line comes
/// each time, because not saying it would be worse.
pub fn built_in_model(say: impl FnOnce(&str)) {
    let first = match dirs::cache_dir().map(|cache| cache.join("spanqa")) {
        Some(folder) => {
            let marker = folder.join("built-in-model-noticed");
            let created = fs::create_dir_all(&folder)
                .and_then(|()| OpenOptions::new().write(true).create_new(true).open(&marker));
            created.is_ok() || !marker.exists()
        }
        None => true,
    };
    if first {
        say(
            "answered by the built-in model, which is small and English; `--model roberta` is much stronger \
             (see `spanqa models list`). This is said once.",
        );
    }
}
