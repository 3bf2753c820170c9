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
    ///
    /// # Errors
    /// [`Error::Unknown`] for another name or version, and for settings that are missing, unknown
    /// or out of range.
    pub fn from_record(record: &Record) -> Result<Self> {
        let read = || {
            let table_bits = u32::try_from(record.get("table_bits")?).ok()?;
            let settings = Self { table_bits };
            (settings.record() == *record && settings.check().is_ok()).then_some(settings)
        };
        read().ok_or_else(|| Error::Unknown { part: "coder", record: record.clone() })
    }

    /// Whether every parameter is in its range.
    ///
    /// # Errors
    /// [`Error::Settings`] if one is not.
    pub fn check(&self) -> Result<()> {
        if (16..=30).contains(&self.table_bits) {
            return Ok(());
        }
        Err(Error::Settings(format!(
            "byte mixer setting table_bits: expected 16 to 30, found {}",
            self.table_bits
        )))
    }
}
