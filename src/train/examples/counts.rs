//! What became of the questions of a data set.

/// What became of the questions.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Questions that are learned from.
    pub questions: usize,
    /// Those of them that have no answer.
    pub unanswerable: usize,
    /// Windows in all.
    pub windows: usize,
    /// Windows that hold no whole answer.
    pub without_answer: usize,
    /// Questions left out because their answer is not where the data set says, nor anywhere else in the context.
    pub unplaced: usize,
    /// Questions left out because they, or their context, have no token.
    pub blank: usize,
    /// Questions that were cut.
    pub cut: usize,
    /// Questions left out because beside them a window has no room for the context.
    #[serde(default)]
    pub too_long: usize,
    /// The id of the first of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_too_long: Option<String>,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Counts) {
        self.questions += other.questions;
        self.unanswerable += other.unanswerable;
        self.windows += other.windows;
        self.without_answer += other.without_answer;
        self.unplaced += other.unplaced;
        self.blank += other.blank;
        self.cut += other.cut;
        self.too_long += other.too_long;
        if self.first_too_long.is_none() {
            self.first_too_long.clone_from(&other.first_too_long);
        }
    }

    /// What a person should know.
    pub fn remarks(&self) -> Vec<String> {
        let too_long = format!(
            "are left out: beside them a window has no room for the context; the first is {}",
            self.first_too_long.as_deref().unwrap_or_default()
        );
        [
            (self.unplaced, "are left out: their answer does not stand in the context"),
            (self.blank, "are left out: they or their contexts are empty"),
            (self.too_long, &too_long),
            (self.cut, "were cut to the longest that windows take"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} questions {what}"))
        .collect()
    }
}
