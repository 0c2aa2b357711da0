//! Whether one model can teach another.

use crate::checkpoint::ModelFiles;
use crate::text::Tokenizer;
use crate::train::error::{Error, Result};

/// Texts in which tokenizers differ that have the same vocabulary: case, accents, punctuation, numbers, white space, scripts that are
/// split in ways of their own, and words that are in no vocabulary.
const SAMPLES: [&str; 6] = [
    "Zürich's 2nd-largest café (est. 1889) sold 1,234.5 kg of coffee: unbelievably good, isn't it?",
    "  Two spaces,\ta tab\nand a line break; U.S.A., e-mail, C++ and a_b. ",
    "東京は日本の首都です。서울은 한국의 수도이다. Москва — столица России.",
    "القاهرة عاصمة مصر. नई दिल्ली भारत की राजधानी है। กรุงเทพมหานคร",
    "ﬁne ① Ⅷ x² naı\u{308}ve 👩‍🚀 \u{200b}zero\u{a0}width",
    "pneumonoultramicroscopicsilicovolcanoconiosis [SEP] </s> <mask>",
];

/// Refuses a teacher that cuts text into other tokens than the student.
pub fn check_teacher(teacher: &ModelFiles, ours: &Tokenizer) -> Result<()> {
    let theirs = Tokenizer::from_files(teacher)?;
    let reason = if theirs.template() != ours.template() {
        "it puts question and context together in another way".into()
    } else if let Some(difference) = other_vocabulary(&theirs, ours) {
        difference
    } else if let Some(text) = other_tokens(&theirs, ours)? {
        format!("it cuts text into other tokens, such as {text:?}")
    } else {
        return Ok(());
    };
    Err(Error::OtherTokens { teacher: teacher.name.clone(), reason })
}

fn other_vocabulary(theirs: &Tokenizer, ours: &Tokenizer) -> Option<String> {
    if theirs.vocab_size() != ours.vocab_size() {
        return Some(format!(
            "it has another vocabulary, of {} tokens and not {}",
            theirs.vocab_size(),
            ours.vocab_size()
        ));
    }
    (0..ours.vocab_size() as u32).find_map(|id| {
        let (theirs, ours) = (theirs.token(id), ours.token(id));
        let token = |token: Option<String>| token.map_or("none".into(), |token| format!("{token:?}"));
        (theirs != ours).then(|| {
            format!("it has another vocabulary: its token {id} is {}, not {}", token(theirs), token(ours))
        })
    })
}

fn other_tokens(theirs: &Tokenizer, ours: &Tokenizer) -> Result<Option<&'static str>> {
    for text in SAMPLES {
        if theirs.encode(text)?.ids != ours.encode(text)?.ids {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::ModelFile;

    /// A WordPiece model of a few words, as legacy files.
    fn model(words: &[&str], lowercase: bool) -> (tempfile::TempDir, ModelFiles) {
        let folder = tempfile::tempdir().unwrap();
        let all = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the"];
        let vocab: Vec<&str> = all.into_iter().chain(words.iter().copied()).collect();
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            (name.to_owned(), ModelFile::OnDisk(path))
        };
        let files = [
            write("vocab.txt", vocab.join("\n")),
            write("config.json", "{\"model_type\": \"bert\"}".into()),
            write("tokenizer_config.json", format!("{{\"do_lower_case\": {lowercase}}}")),
        ];
        let files = ModelFiles::new("teacher", None, files);
        (folder, files)
    }

    #[test]
    fn a_teacher_with_the_same_tokens_is_taken_and_others_are_told_why_not() {
        let (_ours, ours) = model(&["of", "coffee", "tower", "sky", "zurich"], true);
        let ours = Tokenizer::from_files(&ours).unwrap();
        let check = |words: &[&str], lowercase| {
            let (_theirs, theirs) = model(words, lowercase);
            check_teacher(&theirs, &ours).map_err(|error| error.to_string())
        };
        assert_eq!(check(&["of", "coffee", "tower", "sky", "zurich"], true), Ok(()));
        // No sample says these two words.
        let error = check(&["of", "coffee", "sky", "tower", "zurich"], true).unwrap_err();
        assert!(error.contains("its token 9 is \"sky\", not \"tower\""), "{error}");
        let error = check(&["of", "coffee", "tower", "sky"], true).unwrap_err();
        assert!(error.contains("of 11 tokens and not 12"), "{error}");
        let error = check(&["of", "coffee", "tower", "sky", "zurich"], false).unwrap_err();
        assert!(error.contains("it cuts text into other tokens"), "{error}");
    }
}
