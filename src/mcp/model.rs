//! The model of a session, which begins before it is there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::patience::Patience;
use crate::reader::Reader;
use crate::request::Options;

/// A model, and how its replies are made.
pub struct Ready {
    /// The model.
    pub reader: Reader,
    /// As `ask` makes them.
    pub options: Options,
    /// As `ask --search` makes them.
    pub searching: Options,
}

/// A model that may still be on its way.
#[derive(Clone, Default)]
pub struct Loading(Arc<Pending>);

#[derive(Default)]
struct Pending {
    /// Absent until it is there, or will not be.
    state: Mutex<Option<State>>,
    changed: Condvar,
}

type State = Result<Arc<Ready>, String>;

/// How often those who wait ask whether they still should.
const TICK: Duration = Duration::from_millis(100);

impl Loading {
    /// Loads it, and says so, or why it is not there. A panic is such a reason: nobody may wait for ever.
    pub fn load(&self, open: impl FnOnce() -> Result<Ready, String>) {
        let opened = catch_unwind(AssertUnwindSafe(open));
        let opened =
            opened.unwrap_or_else(|_| Err("the model cannot be loaded: spanqa failed inside".into()));
        *self.lock() = Some(opened.map(Arc::new));
        self.0.changed.notify_all();
    }

    /// Waits for it.
    pub(super) fn wait(&self, patience: &Patience) -> State {
        let mut state = self.lock();
        loop {
            if let Some(ready) = &*state {
                return ready.clone();
            }
            patience
                .check("the model is still being loaded; ask again, and `status` says when it is there")?;
            let waited = self.0.changed.wait_timeout(state, TICK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What there is now; `None` while it is on its way.
    pub(super) fn now(&self) -> Option<State> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(state: State) -> String {
        state.err().unwrap()
    }

    #[test]
    fn nobody_waits_for_ever() {
        let model = Loading::default();
        assert!(reason(model.wait(&Patience::over())).contains("is still being loaded"));
        assert_eq!(reason(model.wait(&Patience::taken_back())), "the call was cancelled");
        assert!(model.now().is_none());
        let loading = std::thread::spawn({
            let model = model.clone();
            move || model.load(|| panic!("on purpose"))
        });
        assert!(reason(model.wait(&Patience::new())).contains("failed inside"));
        loading.join().unwrap();
    }
}
