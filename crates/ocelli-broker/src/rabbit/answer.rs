//! What the broker said, as a number: the only thing of its errors that is branched on.

use lapin::ErrorKind;

/// AMQP reply codes (specification 0-9-1, section 1.1 "Reply Codes").
pub(super) const ACCESS_REFUSED: u16 = 403;
pub(super) const NOT_FOUND: u16 = 404;
pub(super) const PRECONDITION_FAILED: u16 = 406;
pub(super) const NOT_ALLOWED: u16 = 530;

/// The broker's reply code, when the error is the broker's answer and not a lost connection.
pub(super) fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(answer) => Some(answer.get_id()),
        _ => None,
    }
}

/// An answer that concerns one operation only: the channel is closed, the connection stands.
pub(super) fn concerns_channel(error: &lapin::Error) -> bool {
    error.is_amqp_soft_error()
}
