//! The coders by choice and by record: arithmetic coding, ranks, the mixers.

use std::sync::Arc;

use finezip_coder::{ArithmeticCoder, Backend, RankCoder, Threads};
use finezip_core::{ByteCoder, Coder, Record, Result, Tokenizer};
use finezip_mixer::learn::{self, LearningCoder};
use finezip_mixer::{bytes, tokens};

use crate::args::RankBackendName;
use crate::settings::CoderChoice;

/// The coder that was chosen.
pub(crate) fn chosen(
    choice: CoderChoice,
    tokenizer: &dyn Tokenizer,
    vocab_size: usize,
    threads: Threads,
) -> Result<Arc<dyn Coder>> {
    Ok(match choice {
        CoderChoice::Arithmetic => Arc::new(ArithmeticCoder::new(threads)),
        CoderChoice::Rank(backend) => {
            let backend = match backend {
                RankBackendName::Zlib => Backend::Zlib,
                RankBackendName::Zstd => Backend::Zstd,
                RankBackendName::Brotli => Backend::Brotli,
                RankBackendName::Bzip2 => Backend::Bzip2,
            };
            Arc::new(RankCoder::new(backend, threads))
        }
        CoderChoice::Mixer(settings) => mixer(settings, tokenizer, vocab_size)?,
    })
}

/// The same coder under a head that learns.
pub(crate) fn learning(coder: Arc<dyn Coder>) -> Result<Arc<dyn Coder>> {
    Ok(Arc::new(LearningCoder::new(coder, learn::Settings::default())?))
}

/// The coder a record names.
pub(crate) fn recorded(
    record: &Record,
    tokenizer: &dyn Tokenizer,
    vocab_size: usize,
    threads: &Threads,
) -> Result<Arc<dyn Coder>> {
    if let Some((settings, inner)) = learn::from_record(record)? {
        let coder = recorded(&inner, tokenizer, vocab_size, threads)?;
        return Ok(Arc::new(LearningCoder::new(coder, settings)?));
    }
    if tokens::is_named_in(record) {
        return mixer(tokens::Settings::from_record(record)?, tokenizer, vocab_size);
    }
    finezip_coder::from_record(record, threads)
}

/// The token mixer over the bytes of each of the model's tokens.
fn mixer(
    settings: tokens::Settings,
    tokenizer: &dyn Tokenizer,
    vocab_size: usize,
) -> Result<Arc<dyn Coder>> {
    let table = (0..vocab_size as u32).map(|token| tokenizer.token_bytes(token).to_vec());
    Ok(Arc::new(tokens::MixerCoder::new(table.collect(), settings)?))
}

/// The coder of bytes without a language model.
pub(crate) fn byte_coder() -> Arc<dyn ByteCoder> {
    Arc::new(bytes::ByteMixer::default())
}

/// The byte coder a record names.
pub(crate) fn recorded_byte_coder(record: &Record) -> Result<Arc<dyn ByteCoder>> {
    Ok(Arc::new(bytes::ByteMixer::new(bytes::Settings::from_record(record)?)?))
}
