//! Deltas: objects as copies from a base object plus new data.

/// Removes a number from the front of `bytes`: seven bits per byte, lowest first.
pub(super) fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut sum = 0_u64;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        sum |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(sum);
        }
    }
    None
}

/// The sizes of a delta's base and of its result.
pub(super) fn sizes(mut delta: &[u8]) -> Option<(u64, u64)> {
    Some((number(&mut delta)?, number(&mut delta)?))
}

/// Applies a delta to its base, with a result of `size` bytes; `None` if they do not fit together.
pub(super) fn apply(
    base: &[u8],
    mut delta: &[u8],
    size: usize,
    result: &mut Vec<u8>,
) -> Option<()> {
    let (base_size, result_size) = (number(&mut delta)?, number(&mut delta)?);
    if base_size != base.len() as u64 || result_size != size as u64 {
        return None;
    }
    while let Some((&instruction, rest)) = delta.split_first() {
        delta = rest;
        let piece = if instruction & 0x80 != 0 {
            let (from, length) = copied(instruction, &mut delta)?;
            base.get(from..from.checked_add(length)?)?
        } else if instruction != 0 {
            let (piece, rest) = delta.split_at_checked(usize::from(instruction))?;
            delta = rest;
            piece
        } else {
            return None;
        };
        if piece.len() > size - result.len() {
            return None;
        }
        result.extend_from_slice(piece);
    }
    (result.len() == size).then_some(())
}

/// The offset and length of a copy instruction: its bits determine which bytes of both numbers follow.
fn copied(instruction: u8, delta: &mut &[u8]) -> Option<(usize, usize)> {
    let mut next = |bit: u8, shift: u32| {
        if instruction & bit == 0 {
            return Some(0);
        }
        let (byte, rest) = delta.split_first()?;
        *delta = rest;
        Some(usize::from(*byte) << shift)
    };
    let from = next(0x01, 0)? | next(0x02, 8)? | next(0x04, 16)? | next(0x08, 24)?;
    let length = next(0x10, 0)? | next(0x20, 8)? | next(0x40, 16)?;
    Some((from, if length == 0 { 0x1_0000 } else { length }))
}
