//! Messages: `compress --compact`, and what the reading commands do with its results.

use std::io::{Read, Write};
use std::path::Path;

use finezip_core::message::{MAX_MESSAGE_BYTES, Message};
use finezip_core::{Components, Form, MessageCoder, Resolver, Summary};

use crate::exit::{Code, Failure, Outcome};
use crate::input::Input;
use crate::output::{Output, Target, WriteOptions};
use crate::profiles::Profiles;
use crate::report::Report;
use crate::resolver::ArchiveResolver;

/// The most bytes a message can take: its text and a header.
const MOST_BYTES: u64 = MAX_MESSAGE_BYTES + 16;

/// Whether an input begins like a message.
pub(super) fn is_next(input: &mut Input) -> Outcome<bool> {
    Ok(input.first_byte()?.is_some_and(Message::begins_with))
}

/// Makes one message of an input; with a resolver it is decoded again before it is written.
pub(super) fn compress(
    input: &mut Input,
    output: &mut Output,
    components: &Components,
    verify: Option<&ArchiveResolver>,
) -> Outcome<Summary> {
    let mut text = Vec::new();
    input.take(MOST_BYTES).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_MESSAGE_BYTES {
        return Err(Failure::usage(format!(
            "a message has at most {MAX_MESSAGE_BYTES} bytes of text; without --compact it becomes \
             an archive"
        )));
    }
    let coder = MessageCoder::new(components.clone())?;
    let message = coder.compress(&text)?;
    if let Some(resolver) = verify {
        let parts = resolver.resolve(&coder.profile().descriptor)?;
        let again = MessageCoder::new(parts)?.decompress(&message);
        if again.as_ref().ok() != Some(&text) {
            return Err(Failure::new(
                Code::Archive,
                "the message was not kept, because it does not give the input back",
            ));
        }
    }
    output.write_all(&message)?;
    Ok(summary(&text, &Message::parse(&message)?, message.len()))
}

/// Writes the profile that messages of these parts need, replacing the file.
pub(super) fn write_profile(path: &Path, components: &Components, report: &Report) -> Outcome {
    let profile = MessageCoder::new(components.clone())?.profile().to_bytes();
    let options = WriteOptions { force: true, ..WriteOptions::default() };
    let mut output = Output::create(&Target::File(path.to_owned()), options)?;
    output.write_all(&profile)?;
    output.finish(None, report)
}

/// Decodes the message that an input is.
pub(super) fn decompress(
    input: &mut Input,
    output: &mut Output,
    profiles: &Profiles,
) -> Outcome<Summary> {
    let mut bytes = Vec::new();
    input.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    let message = Message::parse(&bytes)?;
    let text = profiles.coder(message.profile)?.decompress(&bytes)?;
    output.write_all(&text)?;
    Ok(summary(&text, &message, bytes.len()))
}

fn summary(text: &[u8], message: &Message<'_>, message_bytes: usize) -> Summary {
    let with_model = message.form == Form::Model;
    Summary {
        text_bytes: text.len() as u64,
        archive_bytes: message_bytes as u64,
        tokens: if with_model { message.count } else { 0 },
        model_frames: u64::from(with_model),
        other_frames: u64::from(!with_model),
        ..Summary::default()
    }
}
