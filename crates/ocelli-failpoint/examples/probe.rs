//! Comes to a failpoint and says whether it lived on. Built by the test that shows that optimised programs have none.

use ocelli_failpoint::{Failpoint, check, reached};

fn main() {
    if let Err(message) = check() {
        eprintln!("error: {message}");
        std::process::exit(2);
    }
    reached(Failpoint::WorkerPublished);
    println!("it goes on");
}
