//! From what an archive says of its schedule to the schedule.

use std::sync::Arc;

use finezip_core::schedule::SingleLane;
use finezip_core::{Error, Record, Result, Schedule};

use crate::chunk_reset::{self, ChunkReset};
use crate::fixed_window::{self, FixedWindow};
use crate::lanes::LanePolicy;
use crate::rolling::{self, Rolling};

/// The schedule a record names. Frames record their lanes, so the policy for new frames, which is
/// here the default, takes no part in decoding.
///
/// # Errors
/// [`Error::Unknown`] for a name, a version or parameters that no schedule of this crate has.
///
/// ```
/// use finezip_core::Schedule;
/// use finezip_schedule::{LanePolicy, Rolling, from_record};
///
/// let record = Rolling::new(512, 1, LanePolicy::Fixed(8))?.record();
/// assert_eq!(record.to_string(), "rolling/1 sinks=1 window=512");
/// assert_eq!(from_record(&record)?.record(), record);
/// # Ok::<(), finezip_core::Error>(())
/// ```
pub fn from_record(record: &Record) -> Result<Arc<dyn Schedule>> {
    let unknown = || Error::Unknown { part: "schedule", record: record.clone() };
    // Parameters are counts of tokens; none needs more than 32 bits.
    let number = |key| {
        let value = record.get(key).and_then(|value| u32::try_from(value).ok());
        value.map(|value| value as usize).ok_or_else(unknown)
    };
    let lanes = LanePolicy::default();
    let schedule: Arc<dyn Schedule> = match record.name.as_str() {
        chunk_reset::NAME => Arc::new(ChunkReset::new(number("context")?, lanes)?),
        fixed_window::NAME => Arc::new(FixedWindow::new(number("context")?, lanes)?),
        rolling::NAME => Arc::new(Rolling::new(number("window")?, number("sinks")?, lanes)?),
        "single-lane" => Arc::new(SingleLane::new(number("window")?)),
        _ => return Err(unknown()),
    };
    // What is made must say of itself what the archive says: version and every parameter.
    if schedule.record() == *record { Ok(schedule) } else { Err(unknown()) }
}
