//! The byte mixer as a coder of frames.

use finezip_core::{ByteCoder, Record, Result};

use super::{Settings, compress, decompress, memory_bytes};

/// Codes whole frames without a language model.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByteMixer(Settings);

impl ByteMixer {
    /// With these settings.
    ///
    /// # Errors
    /// [`Error::Settings`](finezip_core::Error::Settings) if one is out of range: no reader would
    /// take the record.
    pub fn new(settings: Settings) -> Result<Self> {
        settings.check()?;
        Ok(Self(settings))
    }
}

impl ByteCoder for ByteMixer {
    fn record(&self) -> Record {
        self.0.record()
    }

    fn memory_bytes(&self, text_bytes: usize) -> u64 {
        memory_bytes(text_bytes, &self.0)
    }

    fn compress(&self, text: &[u8]) -> Result<Vec<u8>> {
        Ok(compress(text, &self.0))
    }

    fn decompress(&self, payload: &[u8], text_bytes: usize) -> Result<Vec<u8>> {
        decompress(payload, text_bytes, &self.0)
    }
}
