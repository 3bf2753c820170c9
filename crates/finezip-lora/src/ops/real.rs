//! The numbers that operations compute with: `f32` to train, `f64` to hold gradients against
//! finite differences.

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, WithDType, bail};

/// A floating-point number of candle's.
pub(crate) trait Real: WithDType {
    /// `e^x`. In `f32` a polynomial that compiles to vectors, within 2 units in the last place,
    /// and at least 1e-38 for any argument.
    fn exponential(self) -> Self;

    /// `sqrt(x)`.
    fn root(self) -> Self;

    /// From the type of weights.
    fn from_f32(value: f32) -> Self;

    /// `values` as this type: without a copy where they are.
    fn from_vec(values: Vec<f32>) -> Vec<Self>;
}

impl Real for f32 {
    /// Cody and Waite: `x = n ln 2 + r`, and a Taylor polynomial of degree 7 for `e^r`.
    #[inline(always)]
    fn exponential(self) -> Self {
        const LOG2_E: f32 = std::f32::consts::LOG2_E;
        // ln 2 in two parts, the first with zeros at its end so that n times it is exact.
        const LN_2_HIGH: f32 = 0.693_359_4;
        const LN_2_LOW: f32 = -2.121_944_4e-4;
        // Adding and taking away 1.5 * 2^23 rounds to a whole number.
        const ROUNDING: f32 = 12_582_912.0;
        const EXPONENT_BIAS: u32 = 127;
        const MANTISSA_BITS: u32 = 23;

        let x = if self > -87.0 { self } else { -87.0 };
        let x = if x < 88.0 { x } else { 88.0 };
        let shifted = x * LOG2_E + ROUNDING;
        let n = shifted - ROUNDING;
        let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
        let mut value = 1.0 / 5040.0;
        for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            value = value * r + coefficient;
        }
        let power = shifted.to_bits().wrapping_add(EXPONENT_BIAS).wrapping_shl(MANTISSA_BITS);
        let value = value * f32::from_bits(power);
        // What is not a number must stay so, or divergence would go unseen.
        if self.is_nan() { self } else { value }
    }

    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }

    fn from_vec(values: Vec<f32>) -> Vec<Self> {
        values
    }
}

impl Real for f64 {
    #[inline(always)]
    fn exponential(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value.into()
    }

    fn from_vec(values: Vec<f32>) -> Vec<Self> {
        values.into_iter().map(Self::from).collect()
    }
}

/// The values of a contiguous tensor, seen from inside an operation.
pub(crate) fn values<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let all = T::cpu_storage_as_slice(storage)?;
    match layout.contiguous_offsets().and_then(|(start, end)| all.get(start..end)) {
        Some(values) => Ok(values),
        None => bail!("expected a contiguous tensor, found {layout:?}"),
    }
}

/// What an operation sees of a tensor.
pub(crate) type Stored<'a> = (&'a CpuStorage, &'a Layout);

/// Lends the storage of a tensor, which is made contiguous first, to `f`.
pub(crate) fn with_storage<R>(
    tensor: &Tensor,
    f: impl FnOnce(Stored<'_>) -> Result<R>,
) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f((storage, layout)),
        _ => bail!("training runs on the CPU"),
    }
}

/// Lends the values of a tensor, which is made contiguous first, to `f`.
pub(crate) fn with_values<T: Real, R>(
    tensor: &Tensor,
    f: impl FnOnce(&[T]) -> Result<R>,
) -> Result<R> {
    with_storage(tensor, |(storage, layout)| f(values(storage, layout)?))
}

/// A tensor of these values, in the shape of another.
pub(crate) fn like<T: Real>(values: Vec<T>, other: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, other.shape(), other.device())
}

/// Runs `$body` with `$real` standing for the type of numbers of `$dtype`.
macro_rules! for_dtype {
    ($dtype:expr, $real:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F32 => {
                type $real = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $real = f64;
                $body
            }
            other => return Err($crate::ops::unknown_dtype(other).into()),
        }
    };
}
pub(crate) use for_dtype;

/// The error of [`for_dtype`].
pub(crate) fn unknown_dtype(found: DType) -> candle_core::Error {
    candle_core::Error::msg(format!("expected f32 or f64, found {found:?}"))
}

/// Refuses other types of numbers than training knows.
pub(crate) fn check_dtype(dtype: DType) -> Result<()> {
    for_dtype!(dtype, Number => {
        let _: Number;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_two_units_in_the_last_place() {
        let mut x = -86.9_f32;
        while x < 87.9 {
            let (found, expected) = (f64::from(x.exponential()), f64::from(x).exp());
            let error = ((found - expected) / expected).abs();
            assert!(error < 2.0 * f64::from(f32::EPSILON), "{x}: {found} against {expected}");
            x += 0.003_17;
        }
        assert_eq!(0.0_f32.exponential(), 1.0);
        assert!(f32::NEG_INFINITY.exponential() < 1e-37);
        assert!(f32::NAN.exponential().is_nan());
    }
}
