//! The command line of a program, and its manual page made from the same words.

use clap::Parser;

/// Parses the command line as [`Parser::parse`] does; `PROGRAM --manual` alone prints the manual page instead, for
/// whoever makes packages.
#[must_use]
pub fn parse<A: Parser>() -> A {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "--manual") && words.next().is_none() {
        let mut page = Vec::new();
        // Writing into memory does not fail.
        drop(clap_mangen::Man::new(<A as clap::CommandFactory>::command()).render(&mut page));
        print!("{}", String::from_utf8_lossy(&page));
        std::process::exit(0);
    }
    A::parse()
}
