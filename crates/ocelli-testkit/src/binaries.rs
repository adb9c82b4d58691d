//! Where cargo put the programs of this workspace, for tests that start them as a user would.

use std::path::PathBuf;

/// The built binary `name` of this workspace, from the profile folder that this test itself was built into.
///
/// # Panics
/// When it was not built: a test of a package builds that package's binaries only, so the others have to be built first.
#[must_use]
pub fn bin(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test knows its own path");
    // target/debug/deps/suite-0123 for a test, target/debug/ocelli-testkit for a binary.
    for folder in test.ancestors().skip(1).take(2) {
        let candidate = folder.join(name);
        if candidate.is_file() {
            return candidate;
        }
    }
    panic!(
        "the binary {name} is not built beside {}\nhint: build it with `cargo build --workspace --bins`, or run the tests with `make test`",
        test.display()
    );
}
