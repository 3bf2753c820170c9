//! Parameters of the learning head, and the record that carries them in an archive.

use finezip_core::{Error, Record, Result};

/// Raised when the same settings would give other bytes.
pub const VERSION: u32 = 1;

/// What the name of a coder begins with where it codes under a head that learns.
const PREFIX: &str = "learn-";

/// The parameter that holds [`VERSION`]; the others begin with it and `_`.
const KEY: &str = "learn";

/// Parameters of the learning head; all of them change the payload. `docs/learn.md` says what
/// each does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Tokens that are corrected at most in a row of logits: 1 to 1,024.
    pub candidates: u64,
    /// How far below the largest logit theirs may lie: 1 to 60.
    pub reach: u64,
    /// How fast a token's row learns, in 64ths: 0 to 4,096.
    pub rate: u64,
    /// How fast its bias learns, in 64ths: 0 to 4,096.
    pub bias_rate: u64,
    /// Errors below one in so many teach nothing: 1 to 65,536.
    pub sensitivity: u64,
    /// Tokens that may have a row of their own: 1 to 2^20.
    pub rows: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            candidates: 128,
            reach: 10,
            rate: 32,
            bias_rate: 8,
            sensitivity: 1000,
            rows: 1 << 15,
        }
    }
}

impl Settings {
    /// The parameters by name, in the order of the fields, with the least and the most of each.
    fn parameters(&self) -> [(&'static str, u64, u64, u64); 6] {
        [
            ("candidates", self.candidates, 1, 1 << 10),
            ("reach", self.reach, 1, 60),
            ("rate", self.rate, 0, 1 << 12),
            ("bias_rate", self.bias_rate, 0, 1 << 12),
            ("sensitivity", self.sensitivity, 1, 1 << 16),
            ("rows", self.rows, 1, 1 << 20),
        ]
    }

    /// An error unless every parameter is in its range.
    pub fn check(&self) -> Result<()> {
        for (name, value, least, most) in self.parameters() {
            if !(least..=most).contains(&value) {
                return Err(Error::Settings(format!(
                    "setting {name} of learning: expected {least} to {most}, found {value}"
                )));
            }
        }
        Ok(())
    }

    /// The record of the coder `inner` names under a head with these settings: its name behind
    /// `learn-`, its version and parameters, and the version of learning as `learn`; the settings
    /// only where they are not the default, so that short texts do not pay for them.
    pub fn record(&self, inner: &Record) -> Record {
        let mut record = inner.clone().with(KEY, u64::from(VERSION));
        record.name.insert_str(0, PREFIX);
        if *self != Self::default() {
            for (name, value, ..) in self.parameters() {
                record = record.with(format!("{KEY}_{name}"), value);
            }
        }
        record
    }
}

/// The settings in a record and the record of the coder under them; none where it is no coder
/// that learns.
///
/// # Errors
/// [`Error::Unknown`] for another version, settings that are missing, unknown or out of range, and
/// a coder that learns twice.
pub fn from_record(record: &Record) -> Result<Option<(Settings, Record)>> {
    let Some(name) = record.name.strip_prefix(PREFIX) else { return Ok(None) };
    let mut inner = Record { name: name.to_owned(), ..record.clone() };
    inner.parameters.retain(|key, _| key != KEY && !key.starts_with("learn_"));
    let get = |name: &str| record.get(&format!("{KEY}_{name}"));
    let given = || {
        Some(Settings {
            candidates: get("candidates")?,
            reach: get("reach")?,
            rate: get("rate")?,
            bias_rate: get("bias_rate")?,
            sensitivity: get("sensitivity")?,
            rows: get("rows")?,
        })
    };
    let settings = given().unwrap_or_default();
    let known = settings.check().is_ok()
        && !inner.name.starts_with(PREFIX)
        && settings.record(&inner) == *record;
    if known {
        return Ok(Some((settings, inner)));
    }
    Err(Error::Unknown { part: "coder", record: record.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_others_are_refused() {
        let inner = Record::new("mixer", 1).with("level", 6);
        let other = Settings { reach: 9, ..Settings::default() };
        for settings in [Settings::default(), other] {
            let record = settings.record(&inner);
            assert_eq!(from_record(&record).unwrap(), Some((settings, inner.clone())));
            for wrong in [
                record.clone().with("learn", 2),
                record.clone().with("learn_more", 1),
                record.clone().with("learn_rate", 5000),
                Settings::default().record(&record),
            ] {
                let found = from_record(&wrong);
                assert!(matches!(found, Err(Error::Unknown { part: "coder", .. })), "{wrong}");
            }
        }
        let short = Settings::default().record(&inner);
        assert_eq!(short.to_string(), "learn-mixer/1 learn=1 level=6");
        assert_eq!(from_record(&inner).unwrap(), None);
        assert!(from_record(&Record::new("learn-mixer", 1)).is_err());
    }
}
