//! The Debian package: what is in it, and that it can be installed, started and removed.

use std::path::{Path, PathBuf};
use std::process::Command;

use ocelli_testkit::bin;

use crate::deploy_rules::checked;
use crate::services::{Database, Fleet};
use crate::world::{CHART, NOTE, World};

fn debian() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/debian")
}

/// The package of the programs that were built for this test; compressing it would only take time.
fn package(world: &World) -> PathBuf {
    let mut build = Command::new(debian().join("build.sh"));
    build.arg(bin("ocelli").parent().unwrap()).arg(world.path("package")).arg("none");
    let output = build.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_package_holds_what_it_should_and_is_installed_started_and_removed() {
    let fleet = Fleet::new(Database::Sqlite).await;
    let package = package(&fleet.world);
    contents(&package);
    fleet.world.samples("in", &[NOTE, CHART]);
    let root = rustix::process::geteuid().is_root();
    assert!(root, "a throw-away copy of this machine needs root, as the tests of a change have it");
    let mut attempt = Command::new(debian().join("try.sh"));
    checked(attempt.arg(&package).arg(&fleet.rabbitmq.url).arg(fleet.world.path("in")));
}

fn contents(package: &Path) {
    let field = |name: &str| said(Command::new("dpkg-deb").arg("-f").arg(package).arg(name));
    assert_eq!(field("Package").trim(), "ocelli");
    assert_eq!(field("Version").trim(), env!("CARGO_PKG_VERSION"));
    let depends = field("Depends");
    for library in ["libc6", "libtesseract5", "liblept5", "tesseract-ocr-eng"] {
        assert!(depends.contains(library), "{library} is not in {depends}");
    }
    assert!(field("Recommends").contains("libheif-examples"), "AVIF and HEIC cannot be read");
    let description = field("Description");
    assert!(description.lines().all(|line| line.chars().count() <= 80), "{description}");
    let list = said(Command::new("dpkg-deb").arg("-c").arg(package));
    let mut files = Vec::new();
    for line in list.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (mode, owner, path) = (words[0], words[1], words[5].trim_start_matches('.'));
        assert_eq!(owner, "root/root", "{line}");
        assert_ne!(mode.as_bytes()[8], b'w', "everybody may write: {line}");
        assert!(!mode.contains('s'), "setuid: {line}");
        files.push((path.to_owned(), mode.to_owned()));
    }
    let mode =
        |path: &str| files.iter().find(|(own, _)| own == path).map(|(_, mode)| mode.as_str());
    for program in [
        "ocelli",
        "ocelli-producer",
        "ocelli-collector",
        "ocelli-ocr-worker",
        "ocelli-llm-worker",
        "ocelli-web",
    ] {
        assert_eq!(mode(&format!("/usr/bin/{program}")), Some("-rwxr-xr-x"), "{program}");
        let page = format!("/usr/share/man/man1/{program}.1.gz");
        assert_eq!(mode(&page), Some("-rw-r--r--"), "{page}");
    }
    for file in [
        "/lib/systemd/system/ocelli-ocr-worker@.service",
        "/lib/systemd/system/ocelli-web.service",
        "/lib/systemd/system/ocelli.target",
        "/usr/lib/sysusers.d/ocelli.conf",
        "/usr/lib/tmpfiles.d/ocelli.conf",
        "/usr/share/bash-completion/completions/ocelli",
        "/usr/share/zsh/vendor-completions/_ocelli",
        "/usr/share/fish/vendor_completions.d/ocelli.fish",
        "/usr/share/doc/ocelli/copyright",
        "/usr/share/doc/ocelli/OPERATIONS.md",
        "/usr/share/doc/ocelli/WEB.md",
        "/usr/share/doc/ocelli/ocelli.cdx.json.gz",
        "/usr/share/ocelli/rabbitmq/roles.json",
        "/usr/share/ocelli/prometheus/rules/ocelli.yml",
        "/usr/share/ocelli/grafana/dashboards/fleet.json",
    ] {
        assert_eq!(mode(file), Some("-rw-r--r--"), "{file}");
    }
    assert_eq!(mode("/etc/ocelli/ocelli.toml"), Some("-rw-r-----"));
    let conffiles = said(Command::new("dpkg-deb").arg("-I").arg(package).arg("conffiles"));
    let settings =
        files.iter().filter(|(path, mode)| path.starts_with("/etc/") && mode.starts_with('-'));
    for (path, _) in settings {
        assert!(conffiles.lines().any(|line| line == path), "{path} is no conffile");
    }
}
