//! From what an archive says of its coder to the coder.

use std::sync::Arc;

use finezip_core::coder::arithmetic_record;
use finezip_core::{Coder, Error, Record, Result};

use crate::arithmetic::ArithmeticCoder;
use crate::threads::Threads;

/// The coder a record names, working on `threads`.
///
/// # Errors
/// [`Error::Unknown`] for a name, a version or parameters that no coder of this crate has.
///
/// ```
/// use finezip_coder::{ArithmeticCoder, Threads, from_record};
/// use finezip_core::Coder;
///
/// let record = ArithmeticCoder::default().record();
/// assert_eq!(record.to_string(), "ac/1");
/// assert_eq!(from_record(&record, &Threads::Inline)?.record(), record);
/// # Ok::<(), finezip_core::Error>(())
/// ```
pub fn from_record(record: &Record, threads: &Threads) -> Result<Arc<dyn Coder>> {
    if *record == arithmetic_record() {
        return Ok(Arc::new(ArithmeticCoder::new(threads.clone())));
    }
    Err(Error::Unknown { part: "coder", record: record.clone() })
}
