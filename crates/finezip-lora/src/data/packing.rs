//! Short pieces share rows, so that little of a row is padding.

/// Tokens that follow one another in a text, at most a row's length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The tokens, without a start token.
    pub(super) tokens: Vec<u32>,
    /// Bytes of text they stand for.
    pub(super) bytes: usize,
}

/// Puts pieces into rows of `length`: the longest first, each into the row with the least room
/// that is enough (best fit decreasing, at most 11/9 of the fewest rows; Johnson 1973). Equal
/// pieces keep their order, so the result follows from the pieces alone.
pub(super) fn pack(mut pieces: Vec<Piece>, length: usize) -> Vec<Vec<Piece>> {
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.tokens.len()));
    let mut rows: Vec<Vec<Piece>> = Vec::new();
    // For each room, from 0 to length - 1, the rows that have it.
    let mut by_room: Vec<Vec<usize>> = vec![Vec::new(); length];
    for piece in pieces {
        let needed = piece.tokens.len();
        let fitting = (needed..length).find_map(|room| by_room[room].pop().map(|row| (room, row)));
        let (room, row) = fitting.unwrap_or_else(|| {
            rows.push(Vec::new());
            (length, rows.len() - 1)
        });
        rows[row].push(piece);
        by_room[room.saturating_sub(needed)].push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fill_rows_as_far_as_they_fit() {
        let piece = |length: usize| Piece { tokens: vec![0; length], bytes: length };
        let sizes = |rows: Vec<Vec<Piece>>| -> Vec<Vec<usize>> {
            let row = |row: &Vec<Piece>| row.iter().map(|piece| piece.tokens.len()).collect();
            rows.iter().map(row).collect()
        };
        let rows = pack([2, 10, 3, 7, 5, 3].map(piece).to_vec(), 10);
        assert_eq!(sizes(rows), [vec![10], vec![7, 3], vec![5, 3, 2]]);
    }
}
