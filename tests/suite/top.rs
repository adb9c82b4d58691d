//! `ocelli top` in a terminal, with somebody at its keys.

use std::fs;
use std::io::{PipeWriter, Write as _};
use std::process::Command;

use ocelli_testkit::bin;

use crate::world::{NOTE, Service, World, until};

/// The program in a pseudo-terminal, which util-linux's script(1) makes.
struct Terminal {
    program: Service,
    keys: PipeWriter,
}

impl Terminal {
    fn start(world: &World) -> Self {
        let (read, keys) = std::io::pipe().unwrap();
        // Nothing is looked at again by itself: what changes on the screen, a key has changed.
        let inside = format!(
            "stty rows 40 cols 120; exec setpriv --pdeathsig KILL -- {} top --every 1h",
            bin("ocelli").display()
        );
        let mut command = world.here(Command::new("setpriv"));
        command.args(["--pdeathsig", "KILL", "--", "script", "-qfe", "-c", &inside, "/dev/null"]);
        command.env("TERM", "xterm").stdin(read);
        Self { program: Service::start(&mut command, world.path("top.log")), keys }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// All that was drawn so far, between the terminal's own codes.
    fn shown(&self) -> String {
        self.program.log()
    }
}

#[test]
fn keys_of_top_pause_resume_and_retry_what_is_selected() {
    let world = World::new();
    let folder = world.samples("in", &[NOTE]);
    let png = fs::read(folder.join(NOTE)).unwrap();
    fs::write(folder.join("cut.png"), &png[..png.len() / 2]).unwrap();
    assert_eq!(world.ocelli(["run", "in"]).code, 3);
    let row = || world.row("tesseract-ocr");
    assert_eq!(row()["failed"], 1, "{}", row());
    let status = world.json(["status", "--json"]);
    let rows = status["analyzers"].as_array().unwrap();
    let place = rows.iter().position(|row| row["analyzer"] == "tesseract-ocr").unwrap();

    let mut top = Terminal::start(&world);
    until("the screen is drawn", || top.shown().contains("tesseract-ocr"));
    top.press(&"j".repeat(place));
    top.press("p");
    until("it is paused", || row()["paused"] == true);
    assert!(row()["note"].as_str().unwrap().contains("ocelli resume"), "{}", row());
    top.press("r");
    until("it goes on", || row()["paused"] == false);
    top.press("t");
    until("it asks whether", || top.shown().contains("y/n"));
    assert_eq!(row()["failed"], 1, "nothing is tried again before the answer: {}", row());
    top.press("y");
    until("the failure is open again", || {
        let row = row();
        row["failed"] == 0 && row["waiting"] == 1
    });
    top.press("q");
    assert_eq!(top.program.wait(), 0, "{}", top.shown());
    world.audit();
}
