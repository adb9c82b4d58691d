//! A question and an answer, whatever the protocol.

use bytes::Bytes;

/// The image as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    /// `image/jpeg` or `image/png`.
    pub(crate) mime: &'static str,
    /// Encoded once for all calls about it. ASCII.
    pub(crate) base64: Bytes,
}

impl Picture {
    pub(crate) fn base64(&self) -> &str {
        std::str::from_utf8(&self.base64).unwrap_or_default()
    }
}

/// One question. What does not change between the calls of an analyzer is taken from its options.
#[derive(Debug, Clone)]
pub(crate) struct Call<'a> {
    pub(crate) system: &'a str,
    pub(crate) user: &'a str,
    /// `None` only for the tiny question that a probe asks after trouble with key or quota.
    pub(crate) picture: Option<&'a Picture>,
    pub(crate) temperature: f32,
    pub(crate) max_tokens: u32,
    pub(crate) think_off: bool,
}

/// What a server answered with status 200 and a body of the right form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Completion {
    pub(crate) text: String,
    /// The model thought before it wrote, as far as the server says so.
    pub(crate) thoughts: bool,
    /// The server's own field for a refusal.
    pub(crate) refusal: Option<String>,
    pub(crate) finish: Finish,
    pub(crate) model: Option<String>,
    pub(crate) tokens_in: Option<u64>,
    pub(crate) tokens_out: Option<u64>,
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finish {
    /// By the model.
    Stop,
    /// By the token budget.
    Length,
    /// By a content filter.
    Filtered,
    /// In any other way, which is no proper end.
    Unfinished(String),
}
