//! `--verify`: an archive is decoded again, from its bytes, before it appears under its name.

use std::fs::File;
use std::io::{self, Write};

use finezip_core::Decompressor;
use xxhash_rust::xxh3::Xxh3;

use crate::exit::{Code, Failure, Outcome};
use crate::input::Input;
use crate::progress::Meter;

/// An error unless `archive` decodes to all that was read from `input`.
pub(crate) fn same_text(
    decompressor: &Decompressor,
    mut archive: File,
    input: &Input,
    meter: &Meter,
) -> Outcome {
    let mut text = HashingSink(Xxh3::new());
    let decoded = decompressor.decompress_stream(&mut archive, &mut text, meter.observer());
    let what = match decoded {
        Ok(_) if text.0.digest128() == input.hash() => return Ok(()),
        Ok(_) => "it decodes to other bytes".to_owned(),
        Err(error) => Failure::from(error).message,
    };
    Err(Failure::new(
        Code::Archive,
        format!("the archive was not kept, because it does not give the input back: {what}"),
    ))
}

struct HashingSink(Xxh3);

impl Write for HashingSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
