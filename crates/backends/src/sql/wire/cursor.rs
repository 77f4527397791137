//! Reads the protocol's integers and texts from the start of some bytes. Pure, and total: no input makes it panic.

/// The first byte of a NULL among the values of a row.
const NULL: u8 = 0xfb;

/// The bytes that are not read yet. Each read takes some from their start, or returns `None` if there are too few.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The bytes up to the next zero byte, which is taken too.
    pub(super) fn until_zero(&mut self) -> Option<&'a [u8]> {
        let length = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.take(length)?;
        self.take(1)?;
        Some(text)
    }

    /// An integer of variable length.
    pub(super) fn integer(&mut self) -> Option<u64> {
        match self.u8()? {
            short @ ..=0xfa => Some(short.into()),
            0xfc => self.u16().map(u64::from),
            0xfd => self.array().map(|[first, second, third]| u32::from_le_bytes([first, second, third, 0]).into()),
            0xfe => self.array().map(u64::from_le_bytes),
            _ => None,
        }
    }

    /// A text after its length.
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.integer()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// A value of a row; `Some(None)` is NULL.
    #[allow(clippy::option_option, reason = "the outer one is whether there is a value, and the inner one the value")]
    pub(super) fn value(&mut self) -> Option<Option<&'a [u8]>> {
        if self.0.first() == Some(&NULL) { self.take(1).map(|_| None) } else { self.text().map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_two_three_or_eight_bytes() {
        let read = |bytes: &[u8]| Cursor::new(bytes).integer();
        assert_eq!(read(&[0]), Some(0));
        assert_eq!(read(&[0xfa]), Some(250));
        assert_eq!(read(&[0xfc, 1, 2]), Some(0x201));
        assert_eq!(read(&[0xfd, 1, 2, 3]), Some(0x3_0201));
        assert_eq!(read(&[0xfe, 1, 0, 0, 0, 0, 0, 0, 0x80]), Some(0x8000_0000_0000_0001));
    }

    #[test]
    fn an_integer_that_is_cut_or_no_integer_is_refused() {
        for bytes in [&[][..], &[0xfb], &[0xff, 0, 0], &[0xfc, 1], &[0xfd, 1, 2], &[0xfe, 1, 2, 3, 4, 5, 6, 7]] {
            assert_eq!(Cursor::new(bytes).integer(), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_text_is_never_longer_than_what_came() {
        let mut cursor = Cursor::new(b"\x02ab\x03cd");
        assert_eq!(cursor.text(), Some(&b"ab"[..]));
        assert_eq!(cursor.text(), None);
        assert_eq!(Cursor::new(b"\xfe\xff\xff\xff\xff\xff\xff\xff\xffab").text(), None);
        assert_eq!(Cursor::new(b"ab").until_zero(), None);
    }

    #[test]
    fn null_is_no_empty_text() {
        let mut cursor = Cursor::new(b"\xfb\x00\x01x");
        assert_eq!((cursor.value(), cursor.value()), (Some(None), Some(Some(&b""[..]))));
        assert_eq!((cursor.value(), cursor.value()), (Some(Some(&b"x"[..])), None));
        assert!(cursor.is_empty());
    }
}
