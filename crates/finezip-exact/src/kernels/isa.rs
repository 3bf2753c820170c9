//! Which instructions a kernel may use: a value that exists only where the CPU has them.

use std::fmt;

/// An instruction set that this CPU has.
///
/// The constructors ask the CPU, so holding a value proves that code compiled for it may run. The
/// results of every kernel are the same for all of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Kind);

/// The instruction sets kernels are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Plain Rust for the target's baseline.
    Scalar,
    /// AVX2 and F16C (Intel Haswell, AMD Zen and later).
    #[cfg(target_arch = "x86_64")]
    #[cfg_attr(miri, allow(dead_code))]
    Avx2,
    /// AVX-512 F, BW, DQ, VL and VNNI, with AVX2 and F16C (Intel Ice Lake, AMD Zen 4 and later).
    #[cfg(target_arch = "x86_64")]
    #[cfg_attr(miri, allow(dead_code))]
    Avx512Vnni,
}

impl Isa {
    /// The best of [`Isa::available`].
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::scalar())
    }

    /// Plain Rust, which every CPU runs: the reference for the others.
    pub fn scalar() -> Self {
        Self(Kind::Scalar)
    }

    /// All instruction sets this CPU has, the fastest last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut all = vec![Self(Kind::Scalar)];
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c");
            if avx2 {
                all.push(Self(Kind::Avx2));
            }
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                all.push(Self(Kind::Avx512Vnni));
            }
        }
        all
    }

    /// The instruction set of this name (`scalar`, `avx2`, `avx512-vnni`), if this CPU has it.
    pub fn named(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    /// The name [`Isa::named`] takes.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni => "avx512-vnni",
        }
    }

    /// The kind, for dispatch.
    #[inline]
    pub(super) fn kind(self) -> Kind {
        self.0
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Isa({})", self.name())
    }
}

/// Compiles a function once an instruction set: the source is one, the compiler vectorises it with
/// what each has, and the floating-point results are what the source says.
///
/// The function gets an `isa: Isa` in front of its parameters.
macro_rules! per_isa {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name(isa: $crate::kernels::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,f16c")]
            fn avx2($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
            match isa.kind() {
                $crate::kernels::isa::Kind::Scalar => body($($arg),*),
                // SAFETY: the `Isa` value proves that the CPU has these instructions.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::isa::Kind::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: the `Isa` value proves that the CPU has these instructions.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::isa::Kind::Avx512Vnni => unsafe { avx512($($arg),*) },
            }
        }
    };
}
pub(super) use per_isa;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_find_what_they_name() {
        for isa in Isa::available() {
            assert_eq!(Isa::named(isa.name()), Some(isa));
            assert_eq!(isa.to_string(), isa.name());
        }
        assert_eq!(Isa::named("scalar"), Some(Isa::scalar()));
        assert_eq!(Isa::named("abacus"), None);
        assert_eq!(Isa::available().last(), Some(&Isa::detect()));
    }
}
