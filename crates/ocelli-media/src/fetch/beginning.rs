//! Bodies that begin like no image are left there, while the rest is still coming: a film or an endless page costs its beginning.
//!
//! Which ones depends on how long a body is, and not on the pieces in which it arrives: one of [`BEGINNING`] bytes or less is read whole.

use crate::sniff::{BEGINNING, Sniff, sniff};

/// Looks once at the beginning of one body.
#[derive(Debug)]
pub(crate) struct Beginning {
    is_judged: bool,
}

impl Beginning {
    /// Without `images_only` everything is wanted.
    pub(crate) fn new(images_only: bool) -> Self {
        Self { is_judged: !images_only }
    }

    /// What a body looks like that is no image, once more of it is there than a beginning. `bytes` is all that has come.
    pub(crate) fn no_image(&mut self, bytes: &[u8]) -> Option<&'static str> {
        if self.is_judged || bytes.len() <= BEGINNING {
            return None;
        }
        self.is_judged = true;
        match sniff(bytes) {
            Sniff::NotAnImage { looks_like } => Some(looks_like),
            Sniff::Image(_) | Sniff::Empty => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_judged_once_and_only_when_it_is_longer_than_its_beginning() {
        let page = vec![b'x'; BEGINNING + 1];
        let mut wanted = Beginning::new(true);
        assert_eq!(wanted.no_image(&page[..BEGINNING]), None);
        assert_eq!(wanted.no_image(&page), Some("plain text"));
        assert_eq!(Beginning::new(false).no_image(&page), None);
        let image = [b"GIF89a", &page[..]].concat();
        assert_eq!(Beginning::new(true).no_image(&image), None);
    }
}
