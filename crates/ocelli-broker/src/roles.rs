//! What each role of a fleet has to be allowed in RabbitMQ, and no more. Pure: `ocelli config roles` prints it, and
//! `deploy/rabbitmq/roles.json` is what it prints for the settings that are shipped.
//!
//! RabbitMQ grants three things by pattern over names ("Access Control", section "How Permissions Work"): *configure*
//! (declare and delete), *write* (publish to an exchange) and *read* (consume from a queue). All queues are reached through
//! one exchange, so whoever may publish may publish to any of them: these rights keep a role from reading and deleting what
//! is not its own, not from lying.

use ocelli_core::AnalyzerName;
use serde_json::{Value, json};

/// A role that has a user of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Declares everything, reads results and dead messages, enqueues.
    Collector,
    /// Enqueues.
    Producer,
    /// Reads the jobs of these analyzers, publishes answers, puts jobs aside.
    Worker(Vec<AnalyzerName>),
    /// Enqueues, for people.
    Web,
    /// Looks at queues over the management API.
    Monitoring,
}

/// Patterns over names of queues and exchanges.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rights {
    configure: String,
    write: String,
    read: String,
}

const NOTHING: &str = "^$";

impl Role {
    fn rights(&self, namespace: &str) -> Rights {
        let all = quoted(namespace);
        let rights = |configure: &str, write: String, read: String| Rights {
            configure: configure.to_owned(),
            write,
            read,
        };
        match self {
            // Declaring a queue that dead-letters wants all three, on the queue and on the exchange.
            Self::Collector => {
                let everything = format!("^{all}(\\..+)?$");
                rights(&everything, everything.clone(), everything.clone())
            }
            Self::Producer | Self::Web => rights(NOTHING, format!("^{all}$"), NOTHING.to_owned()),
            Self::Worker(analyzers) => {
                let names: Vec<_> = analyzers.iter().map(|name| quoted(name.as_str())).collect();
                let read = match names.is_empty() {
                    true => NOTHING.to_owned(),
                    false => format!("^{all}\\.(jobs|bulk)\\.({})$", names.join("|")),
                };
                rights(NOTHING, format!("^{all}(\\.delay\\..+)?$"), read)
            }
            Self::Monitoring => rights(NOTHING, NOTHING.to_owned(), NOTHING.to_owned()),
        }
    }

    fn tags(&self) -> &'static [&'static str] {
        match self {
            Self::Monitoring => &["monitoring"],
            _ => &[],
        }
    }
}

/// A name as a pattern: of the characters that a namespace or an analyzer's name may have, only the dot means something.
fn quoted(name: &str) -> String {
    name.replace('.', "\\.")
}

/// RabbitMQ definitions (`rabbitmqctl import_definitions`) of these users, by name. They have no password and cannot log in
/// until `rabbitmqctl change_password` gives them one.
#[must_use]
pub fn definitions(namespace: &str, vhost: &str, users: &[(&str, Role)]) -> Value {
    json!({
        "users": users.iter().map(|(name, role)| json!({
            "name": name, "tags": role.tags(),
            "password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha256",
        })).collect::<Vec<_>>(),
        "permissions": users.iter().map(|(name, role)| {
            let Rights { configure, write, read } = role.rights(namespace);
            json!({ "user": name, "vhost": vhost, "configure": configure, "write": write, "read": read })
        }).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(names: &[&str]) -> Rights {
        Role::Worker(names.iter().map(|name| name.parse().unwrap()).collect()).rights("my.fleet")
    }

    #[test]
    fn a_worker_reads_the_jobs_of_its_analyzers_alone() {
        let rights = worker(&["llama3.2-vision", "b"]);
        assert_eq!(rights.read, r"^my\.fleet\.(jobs|bulk)\.(llama3\.2-vision|b)$");
        assert_eq!(rights.write, r"^my\.fleet(\.delay\..+)?$");
        assert_eq!(rights.configure, "^$");
        assert_eq!(worker(&[]).read, "^$");
    }

    #[test]
    fn nobody_but_the_collector_configures_or_reads_results() {
        for role in [Role::Producer, Role::Web, Role::Monitoring] {
            let rights = role.rights("ocelli");
            assert_eq!((rights.configure.as_str(), rights.read.as_str()), ("^$", "^$"), "{role:?}");
        }
        assert_eq!(Role::Collector.rights("ocelli").configure, r"^ocelli(\..+)?$");
    }

    #[test]
    fn users_come_without_a_password() {
        let made = definitions("ocelli", "/", &[("m", Role::Monitoring)]);
        assert_eq!(made["users"][0]["password_hash"], "");
        assert_eq!(made["users"][0]["tags"][0], "monitoring");
        assert_eq!(made["permissions"][0]["write"], "^$");
    }
}
