//! tokenizer.json: read by the `tokenizers` crate, then made fit for untrusted text.

use serde_json::{Value, json};
use tokenizers::models::ModelWrapper;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{AddedToken, Model, NormalizedString, Normalizer, TokenizerImpl};

use super::engine::{Engine, Parts, Shortcut, Way, guarded};
use super::plain::Plain;
use super::sentencepiece::unmatchable;
use super::steps::{Cut, Normal, Unused};
use super::wordpiece::{CONTINUING, LONGEST_WORD, WordPiece};
use super::{PairTemplate, fence};
use crate::checkpoint::ModelFile;
use crate::text::error::Result;

/// The pipeline of any tokenizer.json.
type Tokenizer = TokenizerImpl<ModelWrapper, Normal, Cut, PostProcessorWrapper, Unused>;

/// Builds the pipeline that the file describes, less what would act behind our back: truncation, padding, dropout,
/// and special tokens that are recognised in text.
pub(super) fn build(file: &ModelFile) -> Result<Parts> {
    let bytes = file.map()?;
    fence::check(&bytes).map_err(|reason| file.bad(reason))?;
    let mut tokenizer = guarded(|| Tokenizer::from_bytes(&bytes[..])).map_err(|reason| file.bad(reason))?;
    tokenizer.with_padding(None);
    guarded(|| tokenizer.with_truncation(None).map(|_| ())).map_err(|reason| file.bad(reason))?;
    tokenizer.set_encode_special_tokens(true);
    if let Some(token) = guarded(|| empty_token(&tokenizer)).map_err(|reason| file.bad(reason))? {
        return Err(file.bad(format!("its normaliser makes nothing of the added token {token:?}")).into());
    }

    // Tokens that the template uses are special, whatever their flag says.
    if let Ok(Ok(template)) =
        guarded(|| tokenizer.encode(("a", "a"), true)).map(|pair| PairTemplate::learn(&pair))
    {
        let unflagged: Vec<AddedToken> = tokenizer
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(id, token)| !token.special && template.ids().any(|used| used == *id))
            .map(|(_, token)| token.special(true))
            .collect();
        if !unflagged.is_empty() {
            guarded(|| tokenizer.add_tokens(unflagged)).map_err(|reason| file.bad(reason))?;
        }
    }
    let (special, names): (Vec<u32>, Vec<String>) = tokenizer
        .get_added_tokens_decoder()
        .into_iter()
        .filter(|(_, token)| token.special)
        .map(|(id, token)| (id, token.content))
        .unzip();

    let vocab_size = vocab_size(&tokenizer);
    if vocab_size == 0 {
        return Err(file.bad("its vocabulary is empty").into());
    }
    let unknown = match tokenizer.get_model() {
        ModelWrapper::BPE(bpe) => bpe.unk_token.as_deref().and_then(|token| bpe.token_to_id(token)),
        ModelWrapper::WordPiece(wordpiece) => Some(declared_unknown(file, wordpiece, &wordpiece.unk_token)?),
        ModelWrapper::WordLevel(words) => Some(declared_unknown(file, words, &words.unk_token)?),
        ModelWrapper::Unigram(unigram) => Some(unigram_unknown(unigram).map_err(|reason| file.bad(reason))?),
    };
    let replacement = match tokenizer.get_model() {
        // Dropout is for training: it would give another answer on every run.
        ModelWrapper::BPE(bpe) if bpe.dropout.is_some() => {
            let mut bpe = bpe.clone();
            bpe.dropout = None;
            Some(ModelWrapper::BPE(bpe))
        }
        // The pieces of a Unigram model include `</s>` itself, and with the best score of all, so that recognising
        // special tokens is not the only way for text to become one.
        ModelWrapper::Unigram(unigram) if unigram.iter().any(|(piece, _)| names.contains(piece)) => {
            let pieces = unigram.iter().map(|(piece, score)| {
                let piece = if names.contains(piece) { unmatchable(piece) } else { piece.clone() };
                (piece, *score)
            });
            let unknown = unknown.map(|id| id as usize);
            let fenced = guarded(|| Unigram::from(pieces.collect(), unknown, unigram.byte_fallback()))
                .map_err(|reason| file.bad(reason))?;
            Some(ModelWrapper::Unigram(fenced))
        }
        _ => None,
    };
    if let Some(model) = replacement {
        tokenizer.with_model(model);
    }
    Ok(Parts { engine: engine(tokenizer), special, unknown, names: Vec::new(), vocab_size })
}

/// The pipeline, and around it what makes one of its kind faster. One of no known kind takes each text whole.
fn engine(tokenizer: Tokenizer) -> Box<dyn Engine> {
    let added = tokenizer.get_added_tokens_decoder();
    let known = match added.values().all(|token| token.special) {
        true => (plain_words(&tokenizer), cuts_at_spaces(&tokenizer)),
        // Others are looked for in text before anything is cut.
        false => (None, false),
    };
    let pipeline = Box::new(tokenizer);
    let way = match known {
        (Some((vocabulary, lowercase)), _) => Way::Plain(Plain { vocabulary, lowercase }),
        (None, true) => Way::InPieces,
        (None, false) => return pipeline,
    };
    Box::new(Shortcut { pipeline, way })
}

/// The vocabulary, and whether text is lower-cased, of what BERT does with text.
fn plain_words(tokenizer: &Tokenizer) -> Option<(WordPiece, bool)> {
    let (Some(NormalizerWrapper::BertNormalizer(normalizer)), Some(PreTokenizerWrapper::BertPreTokenizer(_))) =
        (tokenizer.get_normalizer()?.whole(), tokenizer.get_pre_tokenizer()?.whole())
    else {
        return None;
    };
    let ModelWrapper::WordPiece(model) = tokenizer.get_model() else { return None };
    // These leave the places of tokens as they are.
    let processor = tokenizer.get_post_processor();
    let leaves = processor.is_none_or(|processor| {
        matches!(processor, PostProcessorWrapper::Bert(_) | PostProcessorWrapper::Template(_))
    });
    let usual =
        model.continuing_subword_prefix == CONTINUING && model.max_input_chars_per_word == LONGEST_WORD;
    let vocabulary = WordPiece::of(&model.get_vocab(), &model.unk_token).filter(|_| leaves && usual)?;
    Some((vocabulary, normalizer.lowercase))
}

/// Whether text is cut at spaces before anything else: RoBERTa's pre-tokenizer, or XLM-R's, with a normaliser that leaves letters and single
/// spaces of ASCII alone.
fn cuts_at_spaces(tokenizer: &Tokenizer) -> bool {
    // Their fields are not public.
    let form = |part: serde_json::Result<Value>| part.unwrap_or_default();
    let kind = |part: &Value| part["type"].as_str().unwrap_or_default().to_owned();
    let parts = |part: &Value, list: &str| match part[list].as_array() {
        Some(parts) => parts.clone(),
        None => vec![part.clone()],
    };
    let cutter = form(serde_json::to_value(tokenizer.get_pre_tokenizer()));
    let normalizer = form(serde_json::to_value(tokenizer.get_normalizer()));
    let squeezes = |part: &Value| part["pattern"] == json!({"Regex": " {2,}"});
    let harmless = normalizer.is_null()
        || parts(&normalizer, "normalizers").iter().all(|part| match &*kind(part) {
            "Precompiled" | "NFC" | "NFKC" => true,
            "Replace" => squeezes(part),
            _ => false,
        });
    let mut cutters = parts(&cutter, "pretokenizers").into_iter();
    let first = cutters.next().unwrap_or_default();
    let cuts = match (&*kind(&first), cutters.next()) {
        ("ByteLevel", None) => first["use_regex"] == true,
        ("Metaspace", None) => first["split"] == true,
        ("WhitespaceSplit", Some(second)) => kind(&second) == "Metaspace" && cutters.next().is_none(),
        _ => false,
    };
    harmless && cuts
}

/// An added token of which nothing is left when it is normalised: nothing is found everywhere.
fn empty_token(tokenizer: &Tokenizer) -> tokenizers::Result<Option<String>> {
    for token in tokenizer.get_added_tokens_decoder().into_values() {
        let mut text = NormalizedString::from(token.content.as_str());
        if let Some(normalizer) = tokenizer.get_normalizer().filter(|_| token.normalized) {
            normalizer.normalize(&mut text)?;
        }
        if text.get().is_empty() {
            return Ok(Some(token.content));
        }
    }
    Ok(None)
}

/// The id of the token that the model falls back on when it knows nothing. Without it, encoding fails at some text.
fn declared_unknown(file: &ModelFile, model: &impl Model, token: &str) -> Result<u32> {
    model.token_to_id(token).ok_or_else(|| file.bad(format!("its vocabulary has no `{token}`")).into())
}

/// A Unigram model does not say which of its pieces is the unknown one, so it is asked with what it cannot know.
fn unigram_unknown(unigram: &Unigram) -> Result<u32, String> {
    let strange = ('\u{10ff00}'..='\u{10fffd}')
        .map(String::from)
        .find(|text| unigram.token_to_id(text).is_none())
        .ok_or("its vocabulary knows every private-use character")?;
    match guarded(|| unigram.tokenize(&strange))?.as_slice() {
        [token] => Ok(token.id),
        _ => Err("its unknown piece cannot be told".into()),
    }
}

/// The highest id + 1. Ids may have holes, so counting is not enough.
fn vocab_size(tokenizer: &Tokenizer) -> usize {
    let model = match tokenizer.get_model() {
        // Its ids are positions in a list; no need to copy a quarter of a million pieces.
        ModelWrapper::Unigram(unigram) => unigram.get_vocab_size(),
        model => model.get_vocab().values().max().map_or(0, |highest| *highest as usize + 1),
    };
    let added = tokenizer.get_added_tokens_decoder().keys().max().map_or(0, |highest| *highest as usize + 1);
    model.max(added)
}
