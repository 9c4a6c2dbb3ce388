//! Go's byte slices.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

/// A `[]byte`: shared, immutable, stored in the original owner of the bytes.
#[derive(Clone)]
pub struct Blob(Rc<dyn AsRef<[u8]>>);

impl Blob {
    /// The bytes that `holder` owns.
    pub fn new(holder: impl AsRef<[u8]> + 'static) -> Self {
        Self(Rc::new(holder))
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.len())
    }
}
