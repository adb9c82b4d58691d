//! An error with everything that caused it, on one line: for logs and for people.

use std::error::Error;

/// `error: cause: cause of the cause`. A cause whose text the error repeats already is left out.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the door")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("no key")]
    struct Inner;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot enter: no key")]
    struct Repeating(#[source] Inner);

    #[test]
    fn causes_follow_once() {
        assert_eq!(chain(&Outer(Inner)), "cannot open the door: no key");
        assert_eq!(chain(&Repeating(Inner)), "cannot enter: no key");
    }
}
