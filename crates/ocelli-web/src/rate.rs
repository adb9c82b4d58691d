//! How often one address may ask: a token bucket for each, in bounded memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Seconds of requests that may come at once: a page with its thumbnails is one burst.
const BURST: f64 = 5.0;

/// Addresses remembered. Beyond, those that could have a full bucket by now are forgotten; if none could, all are.
const ADDRESSES: usize = 10_000;

/// The buckets.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    buckets: Mutex<HashMap<IpAddr, (f64, Instant)>>,
}

impl Rate {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second.max(1)), buckets: Mutex::default() }
    }

    /// Takes one request of `address` at `now`; says whether it may go on.
    pub(crate) fn takes(&self, address: IpAddr, now: Instant) -> bool {
        let full = self.per_second * BURST;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= ADDRESSES && !buckets.contains_key(&address) {
            buckets.retain(|_, (_, at)| now.duration_since(*at).as_secs_f64() < BURST);
            if buckets.len() >= ADDRESSES {
                buckets.clear();
            }
        }
        let (left, at) = buckets.entry(address).or_insert((full, now));
        *left =
            (*left + now.saturating_duration_since(*at).as_secs_f64() * self.per_second).min(full);
        *at = now;
        let may = *left >= 1.0;
        if may {
            *left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_address_that_asks_too_often_waits_and_its_neighbours_do_not() {
        let (rate, now) = (Rate::new(10), Instant::now());
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        assert_eq!((0..60).filter(|_| rate.takes(one, now)).count(), 50);
        assert!(rate.takes(other, now));
        let later = now + Duration::from_secs(1);
        assert_eq!((0..60).filter(|_| rate.takes(one, later)).count(), 10);
    }

    #[test]
    fn addresses_without_end_take_no_memory_without_end() {
        let (rate, now) = (Rate::new(1), Instant::now());
        for n in 0..50_000_u32 {
            rate.takes(Ipv6Addr::from(u128::from(n)).into(), now);
        }
        assert!(rate.buckets.lock().unwrap().len() <= ADDRESSES);
    }
}
