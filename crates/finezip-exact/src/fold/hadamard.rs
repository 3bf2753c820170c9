//! Hadamard matrices: square, entries +1 and -1, rows orthogonal.
//!
//! A rotation that spreads outliers over all channels must cost little and be exact to write
//! down; a Hadamard matrix has entries of one magnitude, so that it needs additions alone. Three
//! constructions reach the widths of the models we know: Sylvester's doubling for powers of two,
//! Paley's first for `q + 1` with a prime `q = 3 mod 4`, Paley's second for `2 (q + 1)` with a
//! prime `q = 1 mod 4` (R. Paley, On Orthogonal Matrices, 1933).

/// The largest order for which Paley's constructions are tried; beyond it a dense factor would
/// cost more additions than it is worth.
const LARGEST_DENSE_ORDER: usize = 128;

/// A Hadamard matrix of an order that is no power of two, `signs[row * order + column]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DenseHadamard {
    /// Rows and columns.
    pub(crate) order: usize,
    /// Entries, +1 or -1, row by row.
    pub(crate) signs: Vec<i8>,
}

impl DenseHadamard {
    /// Paley's matrix of this order, the first construction where both exist.
    pub(crate) fn paley(order: usize) -> Option<Self> {
        if !order.is_multiple_of(4) || order > LARGEST_DENSE_ORDER {
            return None;
        }
        if is_prime(order - 1) {
            return Some(Self::paley_first(order - 1));
        }
        let prime = order / 2 - 1;
        (prime % 4 == 1 && is_prime(prime)).then(|| Self::paley_second(prime))
    }

    /// `I + S` with the skew matrix `S = [[0, 1], [-1, Q]]`, `Q[i][j] = residue(j - i)`.
    fn paley_first(prime: usize) -> Self {
        let order = prime + 1;
        let mut signs = vec![1i8; order * order];
        for row in 1..order {
            signs[row * order] = -1;
            for column in 1..order {
                if row != column {
                    let sign = quadratic_character((column + prime - row) % prime, prime);
                    signs[row * order + column] = sign;
                }
            }
        }
        Self { order, signs }
    }

    /// The symmetric matrix `C = [[0, 1], [1, Q]]` with each 0 replaced by `[[1, -1], [-1, -1]]`
    /// and each sign `s` by `s [[1, 1], [1, -1]]`.
    fn paley_second(prime: usize) -> Self {
        let half = prime + 1;
        let order = 2 * half;
        let mut signs = vec![1i8; order * order];
        for row in 0..half {
            for column in 0..half {
                let block = if row == column {
                    [1, -1, -1, -1]
                } else {
                    let sign = if row == 0 || column == 0 {
                        1
                    } else {
                        quadratic_character((column + prime - row) % prime, prime)
                    };
                    [sign, sign, sign, -sign]
                };
                let at = 2 * row * order + 2 * column;
                signs[at] = block[0];
                signs[at + 1] = block[1];
                signs[at + order] = block[2];
                signs[at + order + 1] = block[3];
            }
        }
        Self { order, signs }
    }
}

fn is_prime(n: usize) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

/// +1 where `value` is a square modulo the prime, -1 where not (`value` is not 0).
fn quadratic_character(value: usize, prime: usize) -> i8 {
    if (1..prime).any(|root| root * root % prime == value) { 1 } else { -1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_orthogonal() {
        let mut orders = Vec::new();
        for order in (4..=LARGEST_DENSE_ORDER).step_by(4) {
            let Some(matrix) = DenseHadamard::paley(order) else { continue };
            orders.push(order);
            for a in 0..order {
                for b in 0..order {
                    let dot: i32 = (0..order)
                        .map(|k| {
                            i32::from(matrix.signs[a * order + k])
                                * i32::from(matrix.signs[b * order + k])
                        })
                        .sum();
                    assert_eq!(dot, if a == b { order as i32 } else { 0 }, "order {order}");
                }
            }
        }
        assert!([12, 20, 28, 36, 44, 60, 76].iter().all(|order| orders.contains(order)));
    }
}
