//! A few bytes, kept where they are: contents of options, most of which are shorter than a pointer and a
//! length together with what an allocation costs.
//!
//! Up to [`Octets::INLINE_MAX`] bytes need no memory of their own; more are kept on the heap. Both read,
//! compare and print as the bytes that they are.

use std::fmt;
use std::ops::Deref;

/// See the module.
#[derive(Clone)]
pub struct Octets(Kept);

#[derive(Clone)]
enum Kept {
    Inline { length: u8, bytes: [u8; Octets::INLINE_MAX] },
    Heap(Box<[u8]>),
}

impl Octets {
    /// Bytes that need no memory of their own.
    pub const INLINE_MAX: usize = 30;

    /// These bytes.
    #[must_use]
    pub fn new(contents: &[u8]) -> Self {
        let mut bytes = [0; Self::INLINE_MAX];
        match (bytes.get_mut(..contents.len()), u8::try_from(contents.len())) {
            (Some(kept), Ok(length)) => {
                kept.copy_from_slice(contents);
                Self(Kept::Inline { length, bytes })
            }
            _ => Self(Kept::Heap(contents.into())),
        }
    }
}

impl Default for Octets {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kept::Inline { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or(bytes),
            Kept::Heap(bytes) => bytes,
        }
    }
}

impl PartialEq for Octets {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Octets {}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl From<&[u8]> for Octets {
    fn from(contents: &[u8]) -> Self {
        Self::new(contents)
    }
}

impl<const N: usize> From<&[u8; N]> for Octets {
    fn from(contents: &[u8; N]) -> Self {
        Self::new(contents)
    }
}

impl<const N: usize> From<[u8; N]> for Octets {
    fn from(contents: [u8; N]) -> Self {
        Self::new(&contents)
    }
}

impl From<Vec<u8>> for Octets {
    fn from(contents: Vec<u8>) -> Self {
        Self::new(&contents)
    }
}

impl From<Box<[u8]>> for Octets {
    fn from(contents: Box<[u8]>) -> Self {
        Self::new(&contents)
    }
}

impl From<Octets> for Box<[u8]> {
    fn from(octets: Octets) -> Self {
        match octets.0 {
            Kept::Heap(bytes) => bytes,
            Kept::Inline { .. } => (*octets).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_whatever_their_number() {
        for length in
            [0, 1, Octets::INLINE_MAX - 1, Octets::INLINE_MAX, Octets::INLINE_MAX + 1, 300]
        {
            let contents: Vec<u8> = (0..=u8::MAX).cycle().skip(1).take(length).collect();
            let octets = Octets::new(&contents);
            assert_eq!(*octets, contents[..]);
            assert_eq!(octets, octets.clone());
            assert_eq!(Box::<[u8]>::from(octets.clone()), contents.clone().into_boxed_slice());
            assert_eq!(format!("{octets:?}"), format!("{contents:?}"));
        }
        assert_ne!(Octets::new(b"a"), Octets::new(b"b"));
        assert_ne!(Octets::new(b"a"), Octets::new(b"a\0"));
    }
}
