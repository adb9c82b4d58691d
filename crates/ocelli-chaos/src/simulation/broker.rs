//! A broker that keeps what it has confirmed, and otherwise does all that a broker may do: it delivers late, twice and
//! out of order, forgets acks, restarts, and once in a while loses its disk.

use std::collections::BTreeMap;

use ocelli_broker::topology::DELIVERY_LIMIT;
use ocelli_core::routing::Queue;

use super::random::Random;

/// Who holds a delivery: a process, and which life of it.
pub(super) type Owner = (usize, u64);

#[derive(Debug, Clone)]
struct Stored {
    body: Vec<u8>,
    attempts: u32,
    deliveries: u32,
    owner: Option<Owner>,
}

/// A delivery, as a consumer holds it. The broker has it too, until it is settled.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) queue: Queue,
    /// Not before this time, then in order of arrival: the place in the queue.
    pub(super) place: (u64, u64),
    pub(super) body: Vec<u8>,
    pub(super) attempts: u32,
}

#[derive(Debug, Default)]
pub(super) struct Broker {
    queues: BTreeMap<Queue, BTreeMap<(u64, u64), Stored>>,
    arrivals: u64,
}

impl Broker {
    /// Stores a message that nobody gets before `ready_at`.
    pub(super) fn store(&mut self, queue: &Queue, body: Vec<u8>, attempts: u32, ready_at: u64) {
        self.arrivals += 1;
        let stored = Stored { body, attempts, deliveries: 0, owner: None };
        self.queues.entry(queue.clone()).or_default().insert((ready_at, self.arrivals), stored);
    }

    /// Hands out the first message that is ready, or with the chance `overtake` any that is.
    pub(super) fn take(
        &mut self,
        queue: &Queue,
        owner: Owner,
        now: u64,
        overtake: u64,
        random: &mut Random,
    ) -> Option<Delivery> {
        let messages = self.queues.get_mut(queue)?;
        let mut ready =
            messages.range_mut(..=(now, u64::MAX)).filter(|(_, stored)| stored.owner.is_none());
        let first = ready.next()?;
        let (place, stored) = if overtake > 0 && random.chance(overtake) {
            let mut all: Vec<_> = std::iter::once(first).chain(ready).collect();
            let chosen = random.index(all.len());
            all.swap_remove(chosen)
        } else {
            first
        };
        stored.owner = Some(owner);
        Some(Delivery {
            queue: queue.clone(),
            place: *place,
            body: stored.body.clone(),
            attempts: stored.attempts,
        })
    }

    /// Whether a message waits that could be handed out now.
    pub(super) fn has_ready(&self, queue: &Queue, now: u64) -> bool {
        self.queues.get(queue).is_some_and(|messages| {
            messages.range(..=(now, u64::MAX)).any(|(_, stored)| stored.owner.is_none())
        })
    }

    /// Removes a delivery for good. Nothing happens when it is no longer the owner's: the ack of a lost connection.
    pub(super) fn settle(&mut self, delivery: &Delivery, owner: Owner) {
        if let Some(messages) = self.queues.get_mut(&delivery.queue)
            && messages.get(&delivery.place).is_some_and(|stored| stored.owner == Some(owner))
        {
            messages.remove(&delivery.place);
        }
    }

    /// Gives a single delivery back to its place.
    pub(super) fn give_back(&mut self, delivery: &Delivery, owner: Owner) {
        self.release(|queue, place, stored| {
            *queue == delivery.queue && *place == delivery.place && stored.owner == Some(owner)
        });
    }

    /// A consumer is gone: all it held is given back.
    pub(super) fn release_owner(&mut self, owner: Owner) {
        self.release(|_, _, stored| stored.owner == Some(owner));
    }

    /// All connections are gone.
    pub(super) fn release_all(&mut self) {
        self.release(|_, _, stored| stored.owner.is_some());
    }

    /// The disk is gone.
    pub(super) fn wipe(&mut self) {
        self.queues.clear();
    }

    /// Messages outside of the dead queue.
    pub(super) fn waiting(&self) -> usize {
        let living = self.queues.iter().filter(|(queue, _)| **queue != Queue::Dead);
        living.map(|(_, messages)| messages.len()).sum()
    }

    fn release(&mut self, which: impl Fn(&Queue, &(u64, u64), &Stored) -> bool) {
        let mut dead = Vec::new();
        for (queue, messages) in &mut self.queues {
            messages.retain(|place, stored| {
                if stored.owner.is_none() || !which(queue, place, stored) {
                    return true;
                }
                stored.owner = None;
                stored.deliveries += 1;
                if stored.deliveries <= DELIVERY_LIMIT {
                    return true;
                }
                dead.push(stored.body.clone());
                false
            });
        }
        for body in dead {
            self.store(&Queue::Dead, body, 0, 0);
        }
    }
}
