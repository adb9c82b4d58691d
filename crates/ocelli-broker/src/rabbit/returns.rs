//! Returned messages that have not been matched to their publish yet.
//!
//! The broker sends `basic.return` before the ack of the same message, but may ack several at once, and lapin hands a
//! returned message to *whichever* publish of such a group it completes first. So a returned message is matched by its
//! own id and key, never by the confirm it came with. It is always seen in time: lapin hands it out before or together
//! with the confirm of its own publish, and the publishing task looks at everything that is ready before it answers.

use std::collections::HashMap;

use lapin::message::BasicReturnMessage;
use lapin::types::ShortString;

use super::wire::Parcel;

/// See the module.
#[derive(Default)]
pub(super) struct Answers(HashMap<(ShortString, ShortString), u32>);

impl Answers {
    pub(super) fn returned(&mut self, message: &BasicReturnMessage) {
        let id = message.properties.message_id().clone().unwrap_or_else(|| ShortString::from(""));
        *self.0.entry((id, message.routing_key.clone())).or_default() += 1;
    }

    /// Whether this parcel was returned; each return counts once.
    pub(super) fn is_returned(&mut self, parcel: &Parcel) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let id = parcel.properties.message_id().clone().unwrap_or_else(|| ShortString::from(""));
        let key = (id, parcel.key.clone());
        let Some(count) = self.0.get_mut(&key) else { return false };
        *count -= 1;
        if *count == 0 {
            self.0.remove(&key);
        }
        true
    }
}
