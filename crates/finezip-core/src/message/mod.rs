//! Messages: short texts, each with a header of a few bytes that refers to a profile.
//!
//! An archive describes everything its decoder must have, which takes more bytes than a chat line
//! has text. A message names the description, the [`Profile`], by four bytes of its hash. The two
//! sides hold it beforehand; a decoder with another one says which is needed. `docs/format.md`
//! specifies both.

mod header;
mod profile;

pub use header::{MAX_MESSAGE_BYTES, Message};
pub use profile::{Profile, ProfileId, ProfilePrefix};

use std::sync::Arc;

use crate::archive::{Limits, block_crc};
use crate::bytes::ByteCoder;
use crate::components::Components;
use crate::compress::check;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::short::{self, Coded, Form};

/// Codes messages with parts that stay open from one to the next.
///
/// ```
/// use std::sync::Arc;
/// use finezip_core::{Components, MessageCoder};
///
/// // With a model: `MessageCoder::new(language)?`.
/// let coder = MessageCoder::new(Components::default())?;
/// let message = coder.compress(b"on my way")?;
/// assert_eq!(message.len(), 9 + 5);
/// assert_eq!(coder.decompress(&message)?, b"on my way");
/// # Ok::<(), finezip_core::Error>(())
/// ```
#[derive(Clone)]
pub struct MessageCoder {
    components: Components,
    profile: Profile,
    id: ProfileId,
    limits: Limits,
}

impl MessageCoder {
    /// A coder with these parts: a [`Language`](crate::Language), or [`Components`].
    ///
    /// # Errors
    /// [`Error::Settings`] where they contradict one another.
    pub fn new(components: impl Into<Components>) -> Result<Self> {
        let components = components.into();
        if let Some(language) = &components.language {
            check(language)?;
        }
        let profile = Profile { descriptor: components.descriptor() };
        let id = profile.id();
        Ok(Self { components, profile, id, limits: Limits::default() })
    }

    /// The same with a byte coder for what the model knows badly. It is part of the profile.
    #[must_use]
    pub fn with_byte_coder(self, coder: Arc<dyn ByteCoder>) -> Self {
        let components = Components { byte_coder: Some(coder), ..self.components };
        let profile = Profile { descriptor: components.descriptor() };
        let id = profile.id();
        Self { components, profile, id, limits: self.limits }
    }

    /// The same with other limits, of which those for sessions, lanes and coders count: a profile
    /// may ask for much, however short a message is.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// What the other side must have.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The identifier of [`MessageCoder::profile`].
    pub fn id(&self) -> ProfileId {
        self.id
    }

    /// The message of a text.
    ///
    /// # Errors
    /// [`Error::Settings`] for a text longer than [`MAX_MESSAGE_BYTES`]; what engine and coder say.
    pub fn compress(&self, text: &[u8]) -> Result<Vec<u8>> {
        Ok(self.compress_all(&[text])?.swap_remove(0))
    }

    /// The messages of texts: the same as [`MessageCoder::compress`] makes of each, computed
    /// together.
    ///
    /// # Errors
    /// As for one; one text too long is an error for all.
    pub fn compress_all(&self, texts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        for text in texts {
            if text.len() as u64 > MAX_MESSAGE_BYTES {
                return Err(Error::Settings(format!(
                    "a message has at most {MAX_MESSAGE_BYTES} bytes of text, not {}",
                    text.len()
                )));
            }
        }
        let (coded, _) = short::encode(
            &self.components,
            texts,
            header::header_bytes,
            &self.limits,
            Progress::default(),
            None,
        )?;
        let message = |(text, coded): (&&[u8], Coded<Vec<u8>>)| {
            Message {
                form: coded.form,
                profile: coded.form.needs_profile().then(|| self.id.prefix()),
                count: coded.count,
                check: self.check(coded.form, text),
                payload: &coded.payload,
            }
            .to_bytes()
        };
        Ok(texts.iter().zip(coded).map(message).collect())
    }

    /// The text of a message.
    ///
    /// # Errors
    /// [`Error::Message`] where it is none, [`Error::Profile`] where it needs another profile,
    /// [`Error::Limit`] where it needs more than limits allow, [`Error::MessageCheck`] and others
    /// where it is damaged.
    pub fn decompress(&self, message: &[u8]) -> Result<Vec<u8>> {
        Ok(self.decompress_all(&[message])?.swap_remove(0))
    }

    /// The texts of messages, computed together.
    ///
    /// # Errors
    /// As for one; one message that fails is an error for all.
    pub fn decompress_all(&self, messages: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let parsed: Vec<Message<'_>> =
            messages.iter().map(|bytes| Message::parse(bytes)).collect::<Result<_>>()?;
        for message in &parsed {
            if let Some(needed) = message.profile.filter(|needed| *needed != self.id.prefix()) {
                return Err(Error::Profile { needed, held: self.id });
            }
        }
        let coded: Vec<Coded<&[u8]>> = parsed
            .iter()
            .map(|message| Coded {
                form: message.form,
                count: message.count,
                payload: message.payload,
            })
            .collect();
        let (texts, _) = short::decode(
            Some(&self.components),
            &coded,
            MAX_MESSAGE_BYTES.saturating_mul(messages.len() as u64),
            &self.limits,
            Progress::default(),
            None,
        )?;
        for (message, text) in parsed.iter().zip(&texts) {
            if text.len() as u64 > MAX_MESSAGE_BYTES {
                return Err(Error::TextTooLong { expected: MAX_MESSAGE_BYTES });
            }
            let (expected, found) = (message.check, self.check(message.form, text));
            if expected != found {
                return Err(Error::MessageCheck { expected, found });
            }
        }
        Ok(texts)
    }

    /// The check of a text. What needs no profile has the same whatever is at hand.
    fn check(&self, form: Form, text: &[u8]) -> u32 {
        block_crc(if form.needs_profile() { self.id.0 } else { 0 }, text)
    }
}
