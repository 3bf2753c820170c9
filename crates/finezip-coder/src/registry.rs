//! From what an archive says of its coder to the coder.

use std::sync::Arc;

use finezip_core::coder::reference::ARITHMETIC;
use finezip_core::{Coder, Error, Record, Result};

use crate::arithmetic::ArithmeticCoder;
use crate::rank::{Backend, RANK, RankCoder};
use crate::threads::Threads;

/// The coder a record names, working on `threads`.
///
/// # Errors
/// [`Error::Unknown`] for a name, a version or parameters that no coder of this crate has.
///
/// ```
/// use finezip_coder::{RankCoder, Threads, from_record};
/// use finezip_core::Coder;
///
/// let record = RankCoder::default().record();
/// assert_eq!(record.to_string(), "rank/1 backend=0 level=9");
/// assert_eq!(from_record(&record, &Threads::Inline)?.record(), record);
/// # Ok::<(), finezip_core::Error>(())
/// ```
pub fn from_record(record: &Record, threads: &Threads) -> Result<Arc<dyn Coder>> {
    let coder: Option<Arc<dyn Coder>> = match record.name.as_str() {
        ARITHMETIC => Some(Arc::new(ArithmeticCoder::new(threads.clone()))),
        RANK => rank(record, threads).map(|coder| Arc::new(coder) as Arc<dyn Coder>),
        _ => None,
    };
    // What is made must say of itself what the archive says: version and every parameter.
    coder
        .filter(|coder| coder.record() == *record)
        .ok_or_else(|| Error::Unknown { part: "coder", record: record.clone() })
}

fn rank(record: &Record, threads: &Threads) -> Option<RankCoder> {
    let backend = Backend::from_number(record.get("backend")?)?;
    let level = u32::try_from(record.get("level")?).ok()?;
    RankCoder::new(backend, threads.clone()).with_level(level).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coders_come_back_and_others_are_refused() {
        let mut records = vec![ArithmeticCoder::default().record()];
        for backend in Backend::ALL {
            records.push(RankCoder::new(backend, Threads::Inline).record());
            let lower = RankCoder::new(backend, Threads::Inline).with_level(1).unwrap();
            records.push(lower.record());
        }
        for record in &records {
            assert_eq!(from_record(record, &Threads::Inline).unwrap().record(), *record);
            let mut later = record.clone();
            later.version = 2;
            let more = record.clone().with("more", 1);
            for other in [later, more] {
                let found = from_record(&other, &Threads::Inline);
                assert!(matches!(found, Err(Error::Unknown { part: "coder", .. })), "{other}");
            }
        }
        for record in [
            Record::new("other", 1),
            Record::new(RANK, 1),
            Record::new(RANK, 1).with("backend", 4).with("level", 1),
            Record::new(RANK, 1).with("backend", 0).with("level", 10),
            Record::new(RANK, 1).with("backend", 0).with("level", u64::MAX),
        ] {
            assert!(from_record(&record, &Threads::Inline).is_err(), "{record}");
        }
    }
}
