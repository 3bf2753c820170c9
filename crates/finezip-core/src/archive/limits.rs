//! What an archive may ask of a decoder.

use crate::error::{Error, Result};

/// Upper bounds on lengths an archive declares; anything larger is an error before memory is
/// taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text in a frame.
    pub frame_bytes: u64,
    /// Bytes in a descriptor.
    pub descriptor_bytes: u64,
    /// Bytes of an embedded adapter, as stored.
    pub adapter_bytes: u64,
    /// Lanes in a frame.
    pub lanes: u64,
    /// Bytes of memory a session may take, as the model says for the lanes and the window asked
    /// for ([`LanguageModel::session_bytes`](crate::LanguageModel::session_bytes)).
    pub session_bytes: u64,
    /// Bytes of memory a coder may take for a frame: tables whose size the descriptor and the
    /// frame's length decide.
    pub coder_bytes: u64,
    /// Bytes in a member's end block: about 8 a frame.
    pub end_bytes: u64,
}

impl Default for Limits {
    /// 64 MiB a frame, 64 KiB of descriptor, 128 MiB of adapter, 1,024 lanes, 16 GiB a session, 2 GiB
    /// a coder, 64 MiB of index.
    fn default() -> Self {
        Self {
            frame_bytes: 64 << 20,
            descriptor_bytes: 64 << 10,
            adapter_bytes: 128 << 20,
            lanes: 1024,
            session_bytes: 16 << 30,
            coder_bytes: 2 << 30,
            end_bytes: 64 << 20,
        }
    }
}

/// `found`, or an error if it is over the limit.
pub(crate) fn within(what: &'static str, found: u64, limit: u64) -> Result<u64> {
    if found > limit {
        return Err(Error::Limit { what, found, limit });
    }
    Ok(found)
}
