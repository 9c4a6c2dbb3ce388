//! DSA keys of 2048 and 256 bits (FIPS 186).

use num_bigint::BigUint;

use super::der;
use super::drbg::Drbg;

const P_BITS: u64 = 2048;
const Q_BITS: u64 = 256;
/// Rounds of Miller-Rabin.
const ROUNDS: u32 = 32;
const SMALL_PRIMES: [u32; 30] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127,
];

#[allow(clippy::many_single_char_names)] // the names of the standard
/// A new key in OpenSSL's format: version, p, q, g, y, x.
pub(super) fn generate(rng: &mut Drbg) -> Vec<u8> {
    let (p, q) = parameters(rng);
    let one = BigUint::from(1u32);
    let exponent = (&p - &one) / &q;
    let mut h = BigUint::from(2u32);
    let g = loop {
        let g = h.modpow(&exponent, &p);
        if g != one {
            break g;
        }
        h += 1u32;
    };
    let x = loop {
        let x = random(rng, Q_BITS);
        if x < q && x > BigUint::ZERO {
            break x;
        }
    };
    let y = g.modpow(&x, &p);
    let numbers: Vec<Vec<u8>> = [BigUint::ZERO, p, q, g, y, x]
        .iter()
        .map(|n| der::unsigned(&n.to_bytes_be()))
        .collect();
    der::element(der::SEQUENCE, &numbers.concat())
}

/// A prime q, and a prime p such that q divides p - 1.
fn parameters(rng: &mut Drbg) -> (BigUint, BigUint) {
    let one = BigUint::from(1u32);
    loop {
        let mut q = random(rng, Q_BITS);
        q.set_bit(0, true);
        q.set_bit(Q_BITS - 1, true);
        if !is_prime(rng, &q) {
            continue;
        }
        let step = &q * 2u32;
        for _ in 0..4 * P_BITS {
            let mut p = random(rng, P_BITS);
            p.set_bit(P_BITS - 1, true);
            let rest = &p % &step;
            p = p - rest + &one;
            if p.bits() == P_BITS && is_prime(rng, &p) {
                return (p, q);
            }
        }
    }
}

fn random(rng: &mut Drbg, bits: u64) -> BigUint {
    let mut bytes = vec![0; (bits / 8) as usize];
    rng.fill(&mut bytes);
    BigUint::from_bytes_be(&bytes)
}

fn is_prime(rng: &mut Drbg, n: &BigUint) -> bool {
    if SMALL_PRIMES.iter().any(|p| n % p == BigUint::ZERO) {
        return false;
    }
    let one = BigUint::from(1u32);
    let last = n - &one;
    let shift = last.trailing_zeros().unwrap_or(0);
    let odd = &last >> shift;
    'rounds: for _ in 0..ROUNDS {
        let base = random(rng, n.bits().div_ceil(8) * 8) % n;
        if base <= one {
            continue;
        }
        let mut x = base.modpow(&odd, n);
        if x == one || x == last {
            continue;
        }
        for _ in 1..shift {
            x = &x * &x % n;
            if x == last {
                continue 'rounds;
            }
        }
        return false;
    }
    true
}
