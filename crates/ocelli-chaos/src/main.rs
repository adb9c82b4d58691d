//! `ocelli-chaos`.

fn main() {}
