//! Tables of many megabytes, in large pages where the system has them.
//!
//! A table that is read at random misses the processor's list of pages at nearly every access when
//! it lies in pages of 4 KiB. Memory of the allocator cannot be asked for in larger ones without
//! unsafe code; a mapping can. A table of which little is ever touched is better off with ordinary
//! ones: the system zeroes a page of 2 MiB as a whole.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use memmap2::MmapMut;

/// In what pages a table is to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageSize {
    /// Those the system gives by itself.
    Ordinary,
    /// Large ones, if it has them.
    Large,
}

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
    pub(crate) fn zeroed(length: usize, pages: PageSize) -> Self {
        let memory = match Self::map(length, pages) {
            Some(mapping) => Memory::Mapped { mapping, values: PhantomData },
            None => Memory::Allocated(vec![T::zeroed(); length]),
        };
        Self { memory }
    }

    /// A mapping whose bytes are `length` values exactly.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    fn map(length: usize, pages: PageSize) -> Option<MmapMut> {
        let mapping = MmapMut::map_anon(length.checked_mul(size_of::<T>())?).ok()?;
        #[cfg(target_os = "linux")]
        if pages == PageSize::Large {
            // A kernel that has no large pages, or none left, gives ordinary ones.
            let _ = mapping.advise(memmap2::Advice::HugePage);
        }
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
            let mapped = |pages| {
                let mapping = Pages::<u32>::map(length, pages).expect("a mapping");
                Memory::Mapped { mapping, values: PhantomData }
            };
            let allocated = Memory::Allocated(vec![0; length]);
            for memory in [mapped(PageSize::Ordinary), mapped(PageSize::Large), allocated] {
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
        assert!(Pages::<u32>::zeroed(0, PageSize::Large).is_empty());
        for length in [usize::MAX / 8, usize::MAX / 2] {
            assert!(Pages::<u32>::map(length, PageSize::Large).is_none());
        }
    }
}
