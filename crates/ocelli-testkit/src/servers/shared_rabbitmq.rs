//! A fresh virtual host on the RabbitMQ that all tests share.

use serde_json::json;

use super::{Management, RABBITMQ, RABBITMQ_MANAGEMENT, fresh_name, required};

/// A virtual host of one's own, deleted with everything in it when dropped.
#[derive(Debug)]
#[non_exhaustive]
pub struct RabbitmqServer {
    /// AMQP URL with user, password and virtual host.
    pub url: String,
    /// URL of the management API, with user and password.
    pub management: String,
    /// Name of the virtual host.
    pub vhost: String,
}

/// Makes a fresh virtual host on the server named by [`RABBITMQ`] and [`RABBITMQ_MANAGEMENT`].
///
/// # Panics
/// When these are not set or the server does not answer: a missing server is a failure, never a skip.
pub async fn rabbitmq() -> RabbitmqServer {
    fresh(required(RABBITMQ), required(RABBITMQ_MANAGEMENT)).await
}

/// A fresh virtual host on the server at these two URLs.
pub(super) async fn fresh(server: String, management: String) -> RabbitmqServer {
    let vhost = fresh_name();
    let made = RabbitmqServer { url: format!("{server}/{vhost}"), management, vhost };
    let (api, vhost) = (made.api(), made.vhost.clone());
    let user = url::Url::parse(&made.url).map(|url| url.username().to_owned());
    let user = user.ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "guest".to_owned());
    tokio::task::spawn_blocking(move || {
        api.put(&format!("vhosts/{vhost}"), &json!({}))?;
        let everything = json!({"configure": ".*", "write": ".*", "read": ".*"});
        api.put(&format!("permissions/{vhost}/{user}"), &everything)
    })
    .await
    .expect("the management calls do not panic")
    .unwrap_or_else(|error| {
        panic!(
            "no virtual host could be made: {error}; {:?}\nhint: run the tests with `make test`",
            std::error::Error::source(&error)
        )
    });
    made
}

impl RabbitmqServer {
    /// Client of the management API, for tests that look at queues from outside.
    ///
    /// # Panics
    /// When [`RABBITMQ_MANAGEMENT`] is not a URL.
    #[must_use]
    pub fn api(&self) -> Management {
        Management::new(&self.management)
            .unwrap_or_else(|error| panic!("{RABBITMQ_MANAGEMENT}: {error}"))
    }
}

impl Drop for RabbitmqServer {
    fn drop(&mut self) {
        // Best effort: the whole server goes away after the run.
        if let Ok(api) = Management::new(&self.management) {
            let _ = api.delete(&format!("vhosts/{}", self.vhost));
        }
    }
}
