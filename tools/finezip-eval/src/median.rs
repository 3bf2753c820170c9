//! The median: of runs, of messages, of comparisons.

/// What has a mean of two.
pub(crate) trait Mean {
    /// The mean of this and another.
    fn mean(self, other: Self) -> Self;
}

impl Mean for f64 {
    fn mean(self, other: Self) -> Self {
        self.midpoint(other)
    }
}

/// The one in the middle, in the order of a number of theirs; of an even count the mean of the two
/// there, and of none nothing.
pub(crate) fn median<T: Mean>(mut all: Vec<T>, number: impl Fn(&T) -> f64) -> Option<T> {
    all.sort_by(|one, other| number(one).total_cmp(&number(other)));
    let is_even = all.len().is_multiple_of(2);
    let above = all.split_off(all.len() / 2).into_iter().next()?;
    match all.pop() {
        Some(below) if is_even => Some(below.mean(above)),
        _ => Some(above),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_the_mean_of_two() {
        let of = |numbers: &[f64]| median(numbers.to_vec(), |&number| number);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[2.0]), Some(2.0));
        assert_eq!(of(&[3.0, 1.0]), Some(2.0));
        assert_eq!(of(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(of(&[4.0, 9.0, 1.0, 2.0]), Some(3.0));
        assert_eq!(median(vec![1.0, 2.0, 4.0], |&number: &f64| -number), Some(2.0));
    }
}
