//! `ocelli-testkit with-servers` passes on what its command says and leaves nothing behind, however it ends.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Starts it with a shell script that prints its three server URLs first; answers their host:port pairs.
/// The servers' data lies in `folder`: a killed process cannot take it away.
fn with_servers(script: &str, folder: &Path) -> (Child, Vec<String>) {
    // PostgreSQL's user has to pass through.
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let urls = "echo $OCELLI_TEST_RABBITMQ; echo $OCELLI_TEST_RABBITMQ_MANAGEMENT; echo $OCELLI_TEST_POSTGRES;";
    let mut child = Command::new(env!("CARGO_BIN_EXE_ocelli-testkit"))
        .args(["with-servers", "--", "sh", "-c", &format!("{urls} {script}")])
        .env("TMPDIR", folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary of this package is built");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let addresses = output
        .lines()
        .take(3)
        .map(|line| {
            let url = url::Url::parse(&line.expect("it is text")).expect("a URL");
            format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"))
        })
        .collect();
    (child, addresses)
}

async fn nobody_listens_at(addresses: &[String]) {
    assert_eq!(addresses.len(), 3);
    ocelli_testkit::wait_until("its servers are gone", Duration::from_secs(30), || async {
        addresses.iter().all(|address| TcpStream::connect(address).is_err())
    })
    .await;
}

#[tokio::test]
async fn private_rabbitmq_and_postgres_go_when_the_command_ends_and_its_exit_code_is_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, addresses) = with_servers("exit 7", folder.path());
    assert_eq!(child.wait().unwrap().code(), Some(7));
    nobody_listens_at(&addresses).await;
}

#[tokio::test]
async fn private_rabbitmq_and_postgres_go_when_it_is_terminated_or_killed() {
    for signal in [Signal::TERM, Signal::KILL] {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, addresses) = with_servers("exec sleep 600", folder.path());
        for address in &addresses {
            assert!(
                TcpStream::connect(address).is_ok(),
                "{address} is served while the command runs"
            );
        }
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        assert!(!child.wait().unwrap().success());
        nobody_listens_at(&addresses).await;
    }
}
