//! RabbitMQ nodes that know each other, on this machine, for the test that kills one of several.

use std::net::SocketAddr;

use ocelli_testkit::servers::OwnRabbitmq;

use super::row::Fallible;

pub(super) struct Cluster {
    // The first one holds the port mapper of all: it is dropped last.
    others: Vec<OwnRabbitmq>,
    first: OwnRabbitmq,
}

impl Cluster {
    pub(super) async fn start(size: usize) -> Fallible<Self> {
        let first = OwnRabbitmq::try_start().await?;
        let mut others = Vec::new();
        for _ in 1..size {
            others.push(OwnRabbitmq::start_joined(&first).await?);
        }
        Ok(Self { others, first })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        std::iter::once(&self.first).chain(&self.others).map(OwnRabbitmq::address).collect()
    }

    fn node(&mut self, index: usize) -> &mut OwnRabbitmq {
        match index {
            0 => &mut self.first,
            _ => &mut self.others[index - 1],
        }
    }

    pub(super) fn kill(&mut self, index: usize) {
        self.node(index).kill();
    }

    /// Starts a killed node again on its data and waits until it serves clients.
    pub(super) async fn start_again(&mut self, index: usize) -> Fallible<()> {
        Ok(self.node(index).try_start_again().await?)
    }
}
