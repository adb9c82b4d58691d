//! The ways a double can answer.

use std::time::Duration;

/// How a double answers a chat request.
#[derive(Debug, Clone, PartialEq)]
pub enum Behaviour {
    /// Properly, with text computed from the request.
    Answer,
    /// Properly, with this text.
    Text(String),
    /// 404: the model is not there.
    ModelMissing,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 429 with the type `insufficient_quota`.
    QuotaExhausted,
    /// 429 with these headers (`retry-after`, `retry-after-ms`).
    TooMany(Vec<(&'static str, String)>),
    /// 500.
    ServerError,
    /// 502 with an HTML page, as a proxy in front of a dead server.
    BadGateway,
    /// 503, as a server that loads its model.
    Loading,
    /// 400 about the image.
    BadImage,
    /// 400: the prompt is longer than the context.
    PromptTooLong,
    /// Never.
    Hang,
    /// Cuts the connection before any byte.
    Break,
    /// Cuts the connection in the middle of the body.
    TruncatedBody,
    /// 200 with an HTML page.
    Html,
    /// 200 with an error body, as Ollama does once it has begun to answer.
    ErrorIn200,
    /// 200 with JSON that is no answer.
    OtherJson,
    /// 200 with bytes that are not UTF-8.
    InvalidUtf8,
    /// A proper answer, one byte at a time.
    SlowBytes(Duration),
    /// A body without end.
    HugeBody,
    /// 200 with `done: false` (Ollama) or `finish_reason: null`.
    NotFinished,
    /// Cut off at the token budget.
    CutOff,
    /// Cut off unless the budget is at least this many tokens.
    CutOffBelow(u64),
    /// A loop.
    Repeats,
    /// A loop unless the temperature is at least this.
    RepeatsBelow(f64),
    /// Nothing.
    Empty,
    /// Nothing but thoughts, unless thinking is switched off.
    ThinksUnlessTold,
    /// "I'm sorry, but I can't …"
    Refuses,
    /// Properly, but only the first two sections.
    MissingSections,
    /// "Sure! Here is …" before the answer.
    Preamble,
    /// Properly, by another model.
    OtherModel,
    /// Properly, with control characters and a script tag in the text.
    ControlCharacters,
}
