//! Asking for memory before it is read.

/// Asks for the cache line in which `bytes` begin. Nothing is read and no result changes.
#[inline(always)]
pub(super) fn prefetch(bytes: &[u8]) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: SSE is part of x86-64, and a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(bytes.as_ptr().cast()) };
    }
    let _ = bytes;
}
