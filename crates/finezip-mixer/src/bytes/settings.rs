//! What of the byte mixer can be set, as numbers an archive can hold.

use finezip_core::{Error, Record, Result};

/// The name of the byte mixer in archives.
pub const NAME: &str = "byte-mixer";

/// Raised when the same settings would give other bytes.
pub const VERSION: u32 = 1;

/// Parameters of the byte mixer; all of them change the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The table of bit histories takes at most 2 to this power bytes, 16 to 30; inputs that need
    /// less take less.
    pub table_bits: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { table_bits: 28 }
    }
}

impl Settings {
    /// Name, version and every parameter.
    pub fn record(&self) -> Record {
        Record::new(NAME, VERSION).with("table_bits", u64::from(self.table_bits))
    }

    /// The settings a record names.
    pub fn from_record(record: &Record) -> Result<Self> {
        let unknown = || Error::Unknown { part: "coder", record: record.clone() };
        if record.name != NAME || record.version != VERSION || record.parameters.len() != 1 {
            return Err(unknown());
        }
        match record.get("table_bits") {
            Some(bits @ 16..=30) => Ok(Self { table_bits: bits as u32 }),
            _ => Err(unknown()),
        }
    }
}
