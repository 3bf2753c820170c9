//! What of the token mixer can be set, as numbers an archive can hold.

use finezip_core::{Error, Record, Result};

use super::contexts::CONTEXTS;
use super::{NAME, SHORT_NAME};

/// Raised when the same settings would give other bytes.
pub const VERSION: u32 = 1;

/// Parameters of the token mixer; all of them change the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Whether anything is mixed; if not, decisions are coded as the model gives them.
    pub mix: bool,
    /// Whether a frame is coded as if nothing were mixed where that is shorter; its payload says so.
    pub plain_if_smaller: bool,
    /// The contexts in use, one bit each; `docs/mixer.md` lists them.
    pub contexts: u64,
    /// Match models in use: 0 to 2.
    pub matches: u64,
    /// Weight sets in use: 1 to 6.
    pub weight_sets: u64,
    /// Refinement stages in use: 0 to 3.
    pub refinements: u64,
    /// A context's table takes at most 2 to this power bytes, 12 to 30; frames that need less
    /// take less.
    pub table_bits: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self::level(DEFAULT_LEVEL)
    }
}

/// The level that mixes everything.
const HIGHEST_LEVEL: u32 = 9;

/// The level [`Settings::default`] gives.
pub const DEFAULT_LEVEL: u32 = 6;

/// The level of a record of the short name that names none. It stays what it is if the default
/// ever changes.
const UNNAMED_LEVEL: u32 = 6;

impl Settings {
    /// The settings behind a level as users of compressors know them: 1 mixes nothing, 9
    /// everything; numbers outside mean the nearest.
    pub fn level(level: u32) -> Self {
        let (contexts, matches, weight_sets, refinements) = match level {
            0 | 1 => (0, 0, 1, 0),
            2 => (0x0000, 1, 2, 0),
            3 => (0x0002, 1, 2, 2),
            4 => (0x0102, 2, 3, 2),
            5 => (0x8102, 2, 3, 3),
            6 => (0x814a, 2, 5, 3),
            7 => (0x8d6e, 2, 5, 3),
            8 => (0xed7e, 2, 5, 3),
            _ => (0xffff, 2, 6, 3),
        };
        let mix = level > 1;
        Self {
            mix,
            plain_if_smaller: mix,
            contexts,
            matches,
            weight_sets,
            refinements,
            table_bits: 24,
        }
    }

    /// Name, version and what says all parameters: the level where they are a level's, so that
    /// short texts do not pay for a long record, else each of them.
    pub fn record(&self) -> Record {
        let record = Record::new(if self.plain_if_smaller { SHORT_NAME } else { NAME }, VERSION);
        let levels = 1..=HIGHEST_LEVEL;
        match levels.into_iter().find(|&level| self.is_of_level(level)) {
            Some(UNNAMED_LEVEL) if self.plain_if_smaller => return record,
            Some(level) => return record.with("level", u64::from(level)),
            None => {}
        }
        record
            .with("mix", u64::from(self.mix))
            .with("contexts", self.contexts)
            .with("matches", self.matches)
            .with("weight_sets", self.weight_sets)
            .with("refinements", self.refinements)
            .with("table_bits", self.table_bits)
    }

    fn is_of_level(self, level: u32) -> bool {
        Self { plain_if_smaller: self.plain_if_smaller, ..Self::level(level) } == self
    }

    /// The same without the choice of a plain code, as records of the long name have it.
    #[must_use]
    pub fn without_choice(self) -> Self {
        Self { plain_if_smaller: false, ..self }
    }

    /// The settings a record names.
    pub fn from_record(record: &Record) -> Result<Self> {
        let level = |level: u64| u32::try_from(level).ok().map(Self::level);
        let read = || {
            let plain_if_smaller = record.name == SHORT_NAME;
            let settings = match record.get("level") {
                Some(named) => Self { plain_if_smaller, ..level(named)? },
                None if record.parameters.is_empty() => Self::level(UNNAMED_LEVEL),
                None => Self {
                    mix: record.get("mix").filter(|&mix| mix < 2)? == 1,
                    plain_if_smaller,
                    contexts: record.get("contexts")?,
                    matches: record.get("matches")?,
                    weight_sets: record.get("weight_sets")?,
                    refinements: record.get("refinements")?,
                    table_bits: record.get("table_bits")?,
                },
            };
            (settings.record() == *record && settings.check().is_ok()).then_some(settings)
        };
        read().ok_or_else(|| Error::Unknown { part: "coder", record: record.clone() })
    }

    /// Whether every parameter is in its range.
    pub fn check(&self) -> Result<()> {
        if self.plain_if_smaller && !self.mix {
            return Err(Error::Settings(
                "mixer setting plain_if_smaller: without mixing there is no choice".into(),
            ));
        }
        let ranges = [
            ("contexts", self.contexts, 0, (1 << CONTEXTS) - 1),
            ("matches", self.matches, 0, 2),
            ("weight_sets", self.weight_sets, 1, 6),
            ("refinements", self.refinements, 0, 3),
            ("table_bits", self.table_bits, 12, 30),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(Error::Settings(format!(
                    "mixer setting {name}: expected {least} to {most}, found {value}"
                )));
            }
        }
        Ok(())
    }
}
