//! Sums of a content, computed while it is written.

/// The bytes of [`Sums`].
pub(crate) const SUMS: usize = 4 + blake3::OUT_LEN;

/// Bytes that may be added before the sums of Adler-32 can overflow.
const PORTION: usize = 5552;
const MODULUS: u32 = 65_521;

/// By what a content is recognized: a weak sum that upstream's file names are made of (SW-ART-011), and a strong one by
/// which two contents are known to be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Adler-32.
    pub adler32: u32,
    /// BLAKE3.
    pub blake3: [u8; blake3::OUT_LEN],
}

impl Sums {
    /// The sums of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let mut sums = Summing::default();
        sums.update(content);
        sums.finish()
    }

    pub(crate) fn to_bytes(self) -> [u8; SUMS] {
        let mut bytes = [0; SUMS];
        bytes[..4].copy_from_slice(&self.adler32.to_be_bytes());
        bytes[4..].copy_from_slice(&self.blake3);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (adler32, blake3) = bytes.split_first_chunk::<4>()?;
        Some(Self {
            adler32: u32::from_be_bytes(*adler32),
            blake3: blake3.try_into().ok()?,
        })
    }
}

/// An Adler-32 sum in progress (RFC 1950).
///
/// ```
/// use flux_artifact::Adler32;
///
/// let mut sum = Adler32::default();
/// sum.update(b"Wiki");
/// sum.update(b"pedia");
/// assert_eq!(sum.finish(), 0x11e6_0398);
/// ```
#[derive(Clone, Debug)]
pub struct Adler32 {
    low: u32,
    high: u32,
}

impl Default for Adler32 {
    fn default() -> Self {
        Self { low: 1, high: 0 }
    }
}

impl Adler32 {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for portion in bytes.chunks(PORTION) {
            for byte in portion {
                self.low += u32::from(*byte);
                self.high += self.low;
            }
            self.low %= MODULUS;
            self.high %= MODULUS;
        }
    }

    /// The sum.
    #[must_use]
    pub fn finish(&self) -> u32 {
        self.high << 16 | self.low
    }
}

/// Sums in progress.
#[derive(Default)]
pub(crate) struct Summing {
    adler32: Adler32,
    blake3: blake3::Hasher,
}

impl Summing {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.adler32.update(bytes);
        self.blake3.update(bytes);
    }

    pub(crate) fn finish(&self) -> Sums {
        Sums {
            adler32: self.adler32.finish(),
            blake3: *self.blake3.finalize().as_bytes(),
        }
    }
}
