//! Tables of many megabytes, in large pages where the system has them.
//!
//! A table that is read at random misses the processor's list of pages at nearly every access when
//! it lies in pages of 4 KiB. Memory of the allocator cannot be asked for in larger ones without
//! unsafe code; a mapping can.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use memmap2::MmapMut;

/// Values of a table, all zero at first.
#[derive(Debug)]
pub(crate) struct Pages<T> {
    memory: Memory<T>,
}

#[derive(Debug)]
enum Memory<T> {
    Mapped {
        mapping: MmapMut,
        values: PhantomData<T>,
    },
    /// Where there are no mappings.
    Allocated(Vec<T>),
}

impl<T: Pod> Pages<T> {
    /// `length` zeros.
    pub(crate) fn zeroed(length: usize) -> Self {
        let memory = match Self::map(length) {
            Some(mapping) => Memory::Mapped { mapping, values: PhantomData },
            None => Memory::Allocated(vec![T::zeroed(); length]),
        };
        Self { memory }
    }

    /// A mapping whose bytes are `length` values exactly.
    fn map(length: usize) -> Option<MmapMut> {
        let mapping = MmapMut::map_anon(length.checked_mul(size_of::<T>())?).ok()?;
        // A kernel that has no large pages, or none left, gives ordinary ones.
        #[cfg(target_os = "linux")]
        let _ = mapping.advise(memmap2::Advice::HugePage);
        Some(mapping)
    }
}

impl<T: Pod> Deref for Pages<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        match &self.memory {
            Memory::Mapped { mapping, .. } => bytemuck::cast_slice(mapping),
            Memory::Allocated(values) => values,
        }
    }
}

impl<T: Pod> DerefMut for Pages<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.memory {
            Memory::Mapped { mapping, .. } => bytemuck::cast_slice_mut(mapping),
            Memory::Allocated(values) => values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_memory_are_the_same_table() {
        for length in [1, 3, 4_096, 3_000_001] {
            let mapping = Pages::<u32>::map(length).expect("a mapping");
            let mapped = Memory::Mapped { mapping, values: PhantomData };
            for memory in [mapped, Memory::Allocated(vec![0; length])] {
                let mut pages = Pages::<u32> { memory };
                assert_eq!(pages.len(), length);
                assert!(pages.iter().all(|&value| value == 0));
                pages[length - 1] = 7;
                assert_eq!(pages[length - 1], 7);
                assert_eq!(pages.iter().sum::<u32>(), 7);
            }
        }
    }

    #[test]
    fn lengths_without_a_mapping() {
        assert!(Pages::<u32>::zeroed(0).is_empty());
        for length in [usize::MAX / 8, usize::MAX / 2] {
            assert!(Pages::<u32>::map(length).is_none());
        }
    }
}
