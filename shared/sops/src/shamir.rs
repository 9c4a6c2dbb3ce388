//! Shamir's secret sharing over GF(2^8), as Vault splits keys: one share per key group (KC-SOPS-027).

/// Why shares make no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// There are fewer than two.
    #[error("less than two parts cannot be used to reconstruct the secret")]
    TooFew,
    /// A share is too short.
    #[error("parts must be at least two bytes")]
    TooShort,
    /// The shares differ in length.
    #[error("all parts must be the same length")]
    Length,
    /// One share is there twice.
    #[error("duplicate part detected")]
    Duplicate,
}

/// The secret of which these are shares; the last byte of each is its place on the polynomials.
pub(crate) fn combine(shares: &[Vec<u8>]) -> Result<Vec<u8>, ShareError> {
    let [first, _, ..] = shares else {
        return Err(ShareError::TooFew);
    };
    if first.len() < 2 {
        return Err(ShareError::TooShort);
    }
    if shares.iter().any(|share| share.len() != first.len()) {
        return Err(ShareError::Length);
    }
    let length = first.len() - 1;
    let places: Vec<u8> = shares.iter().map(|share| share[length]).collect();
    for (at, place) in places.iter().enumerate() {
        if places[..at].contains(place) {
            return Err(ShareError::Duplicate);
        }
    }
    // The weight of each share in the polynomials' values at 0 (Lagrange).
    let weight = |own: u8| {
        let others = places.iter().filter(|place| **place != own);
        others.fold(1, |product, other| {
            multiply(product, multiply(*other, inverse(own ^ other)))
        })
    };
    let weights: Vec<u8> = places.iter().map(|place| weight(*place)).collect();
    let byte = |at: usize| {
        let shares = shares.iter().zip(&weights);
        shares.fold(0, |sum, (share, weight)| sum ^ multiply(share[at], *weight))
    };
    Ok((0..length).map(byte).collect())
}

/// The product modulo x^8 + x^4 + x^3 + x + 1, in constant time.
fn multiply(left: u8, right: u8) -> u8 {
    (0..8).rev().fold(0u8, |product, bit| {
        let carry = (product >> 7).wrapping_neg() & 0x1b;
        let added = ((right >> bit) & 1).wrapping_neg() & left;
        (product << 1) ^ carry ^ added
    })
}

/// `value` to the power of 254; 0 for 0.
fn inverse(value: u8) -> u8 {
    (0..253).fold(value, |power, _| multiply(power, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_shares_make_the_secret() {
        // KC-SOPS-027: of the polynomial 0x42 + 0x1f x
        let share = |x: u8| vec![0x42 ^ multiply(0x1f, x), x];
        assert_eq!(combine(&[share(1), share(2)]), Ok(vec![0x42]));
        assert_eq!(combine(&[share(9), share(255), share(3)]), Ok(vec![0x42]));
        assert_eq!(combine(&[share(1)]), Err(ShareError::TooFew));
        assert_eq!(combine(&[share(1), share(1)]), Err(ShareError::Duplicate));
        assert_eq!(combine(&[share(1), vec![1]]), Err(ShareError::Length));
        assert_eq!(combine(&[vec![1], vec![2]]), Err(ShareError::TooShort));
        for value in 1..=255 {
            assert_eq!(multiply(value, inverse(value)), 1, "{value}");
        }
    }
}
