//! The collector and the sweeper on the broker in memory and a SQLite catalog.

mod collecting;
mod sweeping;
mod world;
