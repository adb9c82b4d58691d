//! The files under `deploy/`: each is checked by the program that would read it, or by its schema.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use ocelli_testkit::servers::{OwnRabbitmq, Place};
use serde_json::{Value, json};

use crate::deploy_rules::{checked, same};

pub(crate) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// A checker that `make setup-servers` has put into the build folder; installed now where it has not.
pub(crate) fn checker(program: &str) -> Command {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("checkers");
    std::fs::create_dir_all(&folder).unwrap();
    // Tests are processes of their own: one installs, the others wait for it.
    let lock = std::fs::File::create(target.join("checkers.lock")).unwrap();
    lock.lock().unwrap();
    checked(Command::new(deploy().join("local/checkers.sh")).env("CARGO_TARGET_DIR", target));
    Command::new(folder.join("bin").join(program))
}

#[test]
fn make_help_lists_a_dozen_targets() {
    let mut make = Command::new("make");
    let output =
        make.args(["--no-print-directory", "help"]).current_dir(deploy().join("..")).output();
    let said = String::from_utf8(output.unwrap().stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() <= 12 && lines.iter().all(|line| line.starts_with("  make ")), "{said}");
    let benches = lines.last().unwrap();
    assert!(benches.contains("bench-NAME") && benches.contains("ocr, llm"), "{said}");
}

#[test]
fn shellcheck_has_nothing_to_say_about_the_scripts() {
    // The line of `make check`: there is one list of scripts.
    let makefile = std::fs::read_to_string(deploy().join("../Makefile")).unwrap();
    let line = makefile.lines().find_map(|line| line.strip_prefix("\t@shellcheck "));
    let line = line.expect("make check runs shellcheck");
    let scripts = format!("shellcheck {line}");
    checked(Command::new("bash").args(["-c", &scripts]).current_dir(deploy().join("..")));
    for (folder, ending) in [("local", ".sh"), ("debian", ".sh")] {
        for script in files(folder, ending) {
            let name = script.file_name().unwrap().to_str().unwrap();
            let named = line.contains(name) || line.contains(&format!("deploy/{folder}/*{ending}"));
            assert!(named, "'make check' does not look at deploy/{folder}/{name}");
        }
    }
}

/// Files below `folder` with this ending.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(deploy().join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    found.sort();
    assert!(!found.is_empty(), "nothing in {folder} ends with {ending}");
    found
}

#[test]
fn the_shipped_settings_are_all_settings_commented_out() {
    let world = crate::world::World::new();
    let defaults = world.ocelli(["config", "default"]).out;
    let mut text =
        String::from("# /etc/ocelli/ocelli.toml: take the # away from what you want to change.\n");
    for line in defaults.lines() {
        let plain = line.is_empty() || line.starts_with(['#', '[']);
        text.push_str(if plain { "" } else { "#" });
        text.push_str(line);
        text.push('\n');
    }
    same(&deploy().join("config/ocelli.toml"), &text);
    // It says nothing, and nothing is wrong with it.
    std::fs::write(world.path("ocelli.toml"), text).unwrap();
    let shown = world.ocelli(["config", "show"]);
    assert!(shown.code == 0 && !shown.out.contains("ocelli.toml"), "{shown:?}");
}

#[test]
fn the_compose_file_fits_its_schema_and_listens_to_this_machine_only() {
    let file = deploy().join("compose/compose.yaml");
    checked(
        checker("check-jsonschema").args(["--builtin-schema", "vendor.compose-spec"]).arg(&file),
    );
    let compose = yaml(&file).remove(0);
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name}: {port}");
        }
        assert!(service["security_opt"].to_string().contains("no-new-privileges:true"), "{name}");
        assert!(!service["profiles"].as_array().unwrap().is_empty(), "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        // These two begin as root, give the folder of their data to their own user and go on as that one.
        let added = match name.as_str() {
            "rabbitmq" | "postgres" => {
                json!(["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"])
            }
            _ => Value::Null,
        };
        assert_eq!(service["cap_add"], added, "{name}");
        // Ours, and what needs nothing of the machine.
        if service.get("build").is_some() {
            assert_eq!(service["read_only"], true, "{name}");
            assert_eq!(service["stop_grace_period"], "30s", "{name}");
        }
    }
    let targets = std::fs::read_to_string(deploy().join("docker/Dockerfile")).unwrap();
    for service in services.values() {
        let Some(target) = service["build"]["target"].as_str() else { continue };
        assert!(targets.contains(&format!(" AS {target}\n")), "there is no target {target}");
    }
    let prometheus = ["check", "config", "--syntax-only", "prometheus.yml"];
    checked(Command::new("promtool").args(prometheus).current_dir(deploy().join("compose")));
}

#[test]
fn images_run_as_nobody_in_particular_and_are_asked_for_their_health() {
    let text = std::fs::read_to_string(deploy().join("docker/Dockerfile")).unwrap();
    let mut stages: Vec<(String, String, String)> = Vec::new();
    for line in text.lines() {
        if let Some(from) = line.strip_prefix("FROM ") {
            let (base, name) = from.split_once(" AS ").expect("every stage has a name");
            stages.push((name.to_owned(), base.to_owned(), String::new()));
        } else if let Some((_, _, body)) = stages.last_mut() {
            body.push_str(line);
            body.push('\n');
        }
    }
    let stage = |name: &str| stages.iter().find(|(own, ..)| own == name);
    let programs = ["ocr-worker", "llm-worker", "collector", "web", "producer", "ocelli"];
    for name in programs {
        let (_, base, body) = stage(name).unwrap_or_else(|| panic!("there is no target {name}"));
        let (_, _, parent) = stage(base).unwrap_or_else(|| panic!("{name} is built on {base}"));
        assert!(parent.contains("USER 65532:65532\n"), "{name}");
        assert!(body.contains("ENTRYPOINT [\"/usr/bin/ocelli"), "{name}");
        assert_eq!(body.contains("HEALTHCHECK"), name != "producer", "{name}");
    }
    let known = |stage: &&(String, String, String)| programs.contains(&stage.0.as_str());
    let last: Vec<_> = stages.iter().filter(known).collect();
    assert_eq!(last.len(), programs.len());
}

#[test]
fn kubernetes_takes_every_overlay_and_pods_are_restricted() {
    let folder = tempfile::tempdir().unwrap();
    // The real one says the same as the check, where there is one that is new enough.
    let real = Command::new("kubectl").args(["version", "--client"]).output();
    let real = real
        .is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("Kustomize Version: v5"));
    let (mut core, mut keda, mut scaling) = (String::new(), Vec::new(), BTreeSet::new());
    for overlay in ["base", "overlays/small", "overlays/ha", "overlays/keda"] {
        let path = deploy().join("k8s").join(overlay);
        let mut build = checker("python");
        build.arg(deploy().join("checks/kustomize.py")).arg(&path);
        if real {
            let built = Command::new("kubectl").arg("kustomize").arg(&path).output().unwrap();
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
            let file = folder.path().join("built.yaml");
            std::fs::write(&file, built.stdout).unwrap();
            build.arg(file);
        }
        let output = build.output().unwrap();
        assert!(output.status.success(), "{overlay}: {}", String::from_utf8_lossy(&output.stderr));
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let object: Value = serde_json::from_str(line).unwrap();
            if object["apiVersion"].as_str().unwrap().starts_with("keda.sh/") {
                let file = folder.path().join(format!("keda-{}.json", keda.len()));
                std::fs::write(&file, line).unwrap();
                keda.push(file);
                for trigger in object["spec"]["triggers"].as_array().into_iter().flatten() {
                    let queue = trigger["metadata"]["queueName"].as_str().unwrap().to_owned();
                    assert!(scaling.insert(queue), "{trigger} is there twice");
                }
                continue;
            }
            core.push_str(line);
            core.push_str("\n---\n");
            restricted(overlay, &object);
        }
    }
    let all = folder.path().join("all.yaml");
    std::fs::write(&all, core).unwrap();
    checked(checker("kubernetes-validate").args(["--strict", "--quiet"]).arg(all));
    let schema = deploy().join("checks/keda.schema.json");
    checked(checker("check-jsonschema").arg("--schemafile").arg(schema).args(keda));
    // Fresh jobs and backfills of every shipped analyzer bring workers.
    let analyzers = ["gemma3-27b-vision", "llama3.2-vision", "tesseract-ocr"];
    let queues = |name: &str| ["jobs", "bulk"].map(|kind| format!("ocelli.{kind}.{name}"));
    let expected: BTreeSet<String> = analyzers.into_iter().flat_map(queues).collect();
    assert_eq!(scaling, expected);
}

/// What the pod security standard "restricted" asks for, and that a pod lives longer than its drain.
fn restricted(overlay: &str, object: &Value) {
    let name = &object["metadata"]["name"];
    let pod = &object["spec"]["template"]["spec"];
    let Some(containers) = pod["containers"].as_array() else { return };
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{overlay}: {name}");
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
        "{overlay}: {name}"
    );
    assert_eq!(pod["automountServiceAccountToken"], false, "{overlay}: {name}");
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() >= 30, "{overlay}: {name}");
    let labels = &object["spec"]["template"]["metadata"]["labels"];
    let ours = labels["app.kubernetes.io/part-of"] == "ocelli";
    for container in containers {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false, "{overlay}: {name}");
        assert_eq!(context["capabilities"]["drop"][0], "ALL", "{overlay}: {name}");
        // Servers of others write beside their volumes.
        assert!(!ours || context["readOnlyRootFilesystem"] == true, "{overlay}: {name}");
        assert!(container["resources"]["limits"]["memory"].is_string(), "{overlay}: {name}");
    }
}

/// A YAML file as JSON.
fn yaml(file: &Path) -> Vec<Value> {
    let script = "import json, sys, yaml\nfor thing in yaml.safe_load_all(open(sys.argv[1])):\n    print(json.dumps(thing))";
    let output = checker("python").args(["-c", script]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn systemd_takes_every_unit_and_finds_little_exposed() {
    let world = crate::world::World::new();
    let programs = world.path("bin");
    std::fs::create_dir_all(&programs).unwrap();
    let mut units = Vec::new();
    for unit in files("systemd", ".service").into_iter().chain(files("systemd", ".target")) {
        let name = unit.file_name().unwrap().to_string_lossy().replace("@.", "@9481.");
        // The programs are not installed here, nor is their manual.
        let text =
            std::fs::read_to_string(&unit).unwrap().replace("Documentation=man:ocelli(1)\n", "");
        let here = ocelli_testkit::bin("ocelli").parent().unwrap().display().to_string();
        std::fs::write(
            world.path(&name),
            text.replace("/usr/bin/ocelli", &format!("{here}/ocelli")),
        )
        .unwrap();
        units.push(world.path(&name));
    }
    checked(
        Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .args(&units),
    );
    for unit in units.iter().filter(|unit| unit.extension().is_some_and(|end| end == "service")) {
        // Exposure in tenths, of a hundred.
        checked(
            Command::new("systemd-analyze")
                .args(["security", "--offline=true", "--threshold=15"])
                .arg(unit),
        );
        let text = std::fs::read_to_string(unit).unwrap();
        assert!(text.contains("TimeoutStopSec=30s\n") && text.contains("User=ocelli\n"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_server_rabbitmq_starts_with_the_shipped_configuration() {
    let shipped =
        |name: &str| std::fs::read_to_string(deploy().join("rabbitmq").join(name)).unwrap();
    let (one, mut three) = (shipped("one-node.conf"), shipped("three-nodes.conf"));
    // Of the other one, what is more is about finding each other: a node that starts with it has read both.
    let settings = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    for line in settings(&one) {
        assert!(settings(&three).contains(&line), "{line}");
    }
    // Peers on this machine, so that nobody waits for a name server. They are not there: this node goes on alone.
    for peer in 0..3 {
        let name = format!("rabbit@rabbitmq-{peer}\n");
        assert!(three.contains(&name), "{name}");
        three = three.replace(&name, &format!("rabbit-{peer}@localhost\n"));
    }
    three.push_str("cluster_formation.discovery_retry_limit = 1\n");
    let broker = OwnRabbitmq::start_with(&three, &Place::temporary()).await.unwrap();
    let said = broker.control(&["environment"]).await.unwrap();
    for words in ["3600000", "64000000", "pause_minority", "rabbit-2@localhost"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}
