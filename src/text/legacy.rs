//! Tokenizers from the files of before tokenizer.json, with the settings that tokenizer_config.json adds to them.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::TokenizerBuilder;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{BertNormalizer, NormalizerWrapper};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::roberta::RobertaProcessing;

use super::engine::{Parts, Shortcut, Way, guarded};
use super::plain::Plain;
use super::wordpiece::WordPiece;
use crate::checkpoint::{ModelFile, ModelFiles};
use crate::text::error::Result;

/// The largest `model_max_length` that is taken for a length. Exporters write 1e30 for "none".
const LONGEST_DECLARED: f64 = 1_000_000.0;

/// tokenizer_config.json, if there is one.
pub(super) struct Config {
    fields: Value,
}

impl Config {
    /// Reads the file. That it is missing is fine; that it is not a JSON object is not.
    pub(super) fn read(files: &ModelFiles) -> Result<Self> {
        let fields = match files.get("tokenizer_config.json") {
            None => Value::Null,
            Some(file) => match serde_json::from_slice(&file.read()?) {
                Ok(fields @ Value::Object(_)) => fields,
                Ok(_) => return Err(file.bad("it is not a JSON object").into()),
                Err(error) => return Err(file.bad(error.to_string()).into()),
            },
        };
        Ok(Self { fields })
    }

    /// `model_max_length`, where it is a length.
    pub(super) fn declared_max_length(&self) -> Option<usize> {
        self.fields.get("model_max_length")?.as_f64().and_then(sane_length)
    }

    /// What the builders below need to know. tokenizer.json says all of this itself, so only they ask.
    pub(super) fn legacy(&self, files: &ModelFiles) -> Result<Settings> {
        let config = match files.get("tokenizer_config.json") {
            None => Settings::default(),
            Some(file) => Settings::deserialize(&self.fields).map_err(|error| file.bad(error.to_string()))?,
        };
        let map = match files.get("special_tokens_map.json") {
            None => SpecialTokens::default(),
            Some(file) => {
                serde_json::from_slice(&file.read()?).map_err(|error| file.bad(error.to_string()))?
            }
        };
        // The map is the older of the two places, and wins in configs as old as itself.
        let special = match self.fields.get("added_tokens_decoder") {
            Some(_) => config.special.or(map),
            None => map.or(config.special),
        };
        Ok(Settings { special, ..config })
    }
}

/// `model_max_length`, if it says anything.
fn sane_length(declared: f64) -> Option<usize> {
    ((1.0..=LONGEST_DECLARED).contains(&declared) && declared.fract() == 0.0).then_some(declared as usize)
}

/// The fields of tokenizer_config.json that change how text is cut up.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Settings {
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    /// Whether the first word is treated as if a space stood before it.
    pub(super) add_prefix_space: Option<bool>,
    trim_offsets: Option<bool>,
    /// How this model spells its special tokens.
    #[serde(flatten)]
    pub(super) special: SpecialTokens,
}

/// Special tokens that are not spelled as usual.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SpecialTokens {
    bos_token: Option<Spelling>,
    eos_token: Option<Spelling>,
    cls_token: Option<Spelling>,
    sep_token: Option<Spelling>,
    unk_token: Option<Spelling>,
    pad_token: Option<Spelling>,
    mask_token: Option<Spelling>,
}

impl SpecialTokens {
    /// These, and where they are silent, those.
    fn or(self, other: Self) -> Self {
        Self {
            bos_token: self.bos_token.or(other.bos_token),
            eos_token: self.eos_token.or(other.eos_token),
            cls_token: self.cls_token.or(other.cls_token),
            sep_token: self.sep_token.or(other.sep_token),
            unk_token: self.unk_token.or(other.unk_token),
            pad_token: self.pad_token.or(other.pad_token),
            mask_token: self.mask_token.or(other.mask_token),
        }
    }

    /// The tokens in the order of XLM-R's ids: begin, pad, end, unknown, and the mask that comes last.
    pub(super) fn xlm_roberta(&self) -> [&str; 5] {
        [
            spelled(&self.bos_token, "<s>"),
            spelled(&self.pad_token, "<pad>"),
            spelled(&self.eos_token, "</s>"),
            spelled(&self.unk_token, "<unk>"),
            spelled(&self.mask_token, "<mask>"),
        ]
    }
}

/// Both ways in which these files write a token.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Spelling {
    Plain(String),
    Described { content: String },
}

fn spelled<'a>(token: &'a Option<Spelling>, usual: &'a str) -> &'a str {
    match token {
        Some(Spelling::Plain(content) | Spelling::Described { content }) => content,
        None => usual,
    }
}

/// BERT: a normaliser that may lower-case, words and punctuation, WordPiece.
///
/// Lower-casing is the default when nobody says anything, because it is the default of the code that these files
/// were written for, and published checkpoints rely on that.
pub(super) fn wordpiece(file: &ModelFile, settings: &Settings) -> Result<Parts> {
    let special = &settings.special;
    let vocabulary = WordPiece::new(file.read()?, spelled(&special.unk_token, "[UNK]"))
        .map_err(|reason| file.bad(reason))?;
    let required = |token: &str| match vocabulary.id(token) {
        Some(id) => Ok((token.to_owned(), id)),
        None => Err(file.bad(format!("it has no `{token}`"))),
    };
    let sep = required(spelled(&special.sep_token, "[SEP]"))?;
    let cls = required(spelled(&special.cls_token, "[CLS]"))?;
    let optional = [spelled(&special.pad_token, "[PAD]"), spelled(&special.mask_token, "[MASK]")];
    let ids = optional.iter().filter_map(|token| vocabulary.id(token)).collect();
    let (unknown, vocab_size) = (vocabulary.unknown(), vocabulary.len());

    let normalizer = BertNormalizer::new(
        true,
        settings.tokenize_chinese_chars.unwrap_or(true),
        settings.strip_accents,
        settings.do_lower_case.unwrap_or(true),
    );
    let lowercase = normalizer.lowercase;
    let pipeline = TokenizerBuilder::<_, _, _, _, DecoderWrapper>::new()
        .with_model(vocabulary.clone())
        .with_normalizer(Some(normalizer))
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(BertProcessing::new(sep, cls)))
        .build()
        .map_err(|error| file.bad(error.to_string()))?;
    let engine =
        Box::new(Shortcut { pipeline: Box::new(pipeline), way: Way::Plain(Plain { vocabulary, lowercase }) });
    Ok(Parts { engine, special: ids, unknown: Some(unknown), names: Vec::new(), vocab_size })
}

/// RoBERTa: words with the space before them, as bytes, BPE.
pub(super) fn byte_level_bpe(vocab: &ModelFile, merges: &ModelFile, settings: &Settings) -> Result<Parts> {
    let pieces: Vocab =
        serde_json::from_slice(&vocab.read()?).map_err(|error| vocab.bad(error.to_string()))?;
    let special = &settings.special;
    let required = |token: &str| match pieces.get(token) {
        Some(id) => Ok((token.to_owned(), *id)),
        None => Err(vocab.bad(format!("it has no `{token}`"))),
    };
    let cls = required(spelled(&special.cls_token, "<s>"))?;
    let sep = required(spelled(&special.sep_token, "</s>"))?;
    let optional = [
        spelled(&special.bos_token, "<s>"),
        spelled(&special.eos_token, "</s>"),
        spelled(&special.pad_token, "<pad>"),
        spelled(&special.mask_token, "<mask>"),
    ];
    let ids = optional.iter().filter_map(|token| pieces.get(*token).copied()).collect();
    let unknown = pieces.get(spelled(&special.unk_token, "<unk>")).copied();
    let vocab_size = pieces.values().max().map_or(0, |highest| *highest as usize + 1);

    let text = merges.read()?;
    let text = std::str::from_utf8(&text).map_err(|error| merges.bad(error.to_string()))?;
    let pairs = merge_pairs(text, &pieces).map_err(|reason| merges.bad(reason))?;
    let model = guarded(|| BPE::builder().vocab_and_merges(pieces, pairs).build())
        .map_err(|reason| merges.bad(reason))?;

    let prefix_space = settings.add_prefix_space.unwrap_or(false);
    let post_processor = RobertaProcessing::new(sep, cls)
        .trim_offsets(settings.trim_offsets.unwrap_or(true))
        .add_prefix_space(prefix_space);
    let pipeline = TokenizerBuilder::<_, NormalizerWrapper, _, _, DecoderWrapper>::new()
        .with_model(model)
        .with_pre_tokenizer(Some(ByteLevel::new(prefix_space, true, true)))
        .with_post_processor(Some(post_processor))
        .build()
        .map_err(|error| vocab.bad(error.to_string()))?;
    let engine = Box::new(Shortcut { pipeline: Box::new(pipeline), way: Way::InPieces });
    Ok(Parts { engine, special: ids, unknown, names: Vec::new(), vocab_size })
}

/// The lines of merges.txt. All parts are looked up here, where the line is known; the `tokenizers` crate panics when
/// a merge is longer than every token.
fn merge_pairs(text: &str, pieces: &Vocab) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::with_capacity(pieces.len());
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() || (index == 0 && line.starts_with("#version")) {
            continue;
        }
        let number = index + 1;
        let Some((left, right)) = line.split_once(' ').filter(|(_, right)| !right.contains(' ')) else {
            return Err(format!("line {number} is not two pieces with a space between"));
        };
        let whole = format!("{left}{right}");
        if let Some(missing) = [left, right, &whole].into_iter().find(|piece| !pieces.contains_key(*piece)) {
            return Err(format!("line {number} needs the piece `{missing}`, which is not in vocab.json"));
        }
        pairs.push((left.to_owned(), right.to_owned()));
    }
    Ok(pairs)
}
