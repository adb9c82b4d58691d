//! Turning a decoder's panic into an error, without its message on standard error.
//!
//! Decoders of hostile bytes do panic now and then (an index, an assertion). The worker must not die of it, and its log
//! must not fill with backtraces that nobody can act on. A panic hook is put in front of the existing one, once; it
//! keeps silent only on a thread that is inside [`caught`].

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static INSIDE: Cell<u32> = const { Cell::new(0) };
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Longest panic message that is kept: some contain whole buffers.
const MAX_MESSAGE_CHARS: usize = 200;

/// Runs `work`; a panic becomes its message.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(install);
    INSIDE.set(INSIDE.get() + 1);
    // Unwind safety: everything that `work` touches is made by it or only read, and dropped with it.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    INSIDE.set(INSIDE.get() - 1);
    result.map_err(|_| MESSAGE.take().unwrap_or_else(|| "panic without a message".to_owned()))
}

fn install() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if INSIDE.get() == 0 {
            previous(info);
        } else {
            MESSAGE.set(Some(describe(info)));
        }
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let text = info.payload_as_str().unwrap_or("panic");
    let text: String = text
        .chars()
        .take(MAX_MESSAGE_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match info.location() {
        Some(at) => {
            let file = at.file().rsplit('/').next().unwrap_or_default();
            format!("{text}, {file}:{line}", line = at.line())
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message_and_the_thread_goes_on() {
        let numbers: Vec<u8> = Vec::new();
        let message = caught(|| numbers[std::hint::black_box(3)]).unwrap_err();
        assert!(message.contains("index out of bounds"), "{message}");
        assert!(message.contains("panics.rs:"), "{message}");
        assert_eq!(caught(|| 7), Ok(7));
    }
}
