//! From a source to bounded pixels: fetching bytes, telling what they are, decoding them within limits, and preparing
//! them for a vision model.
//!
//! Producers use [`digest`], [`sniff()`] and [`inspect()`]; workers use [`fetch`], [`decode()`] and [`prepare()`]. Everything that
//! arrives here is taken for hostile: hosts, redirects, lengths, headers and pixels. Absent on purpose: queues, the
//! catalog, and any decoder written in C in this process.
//!
//! | module | room for |
//! |---|---|
//! | [`fetch`] | [`Fetcher`]: `file:`, `http:`, `https:`, `s3:`, `gs:`, `az:`, with limits while reading and a guard against private hosts |
//! | `fetch::post` | [`Poster`]: the other direction, behind the same guard |
//! | [`manners`] | [`Polite`]: the same with the manners that hosts expect |
//! | [`objects`] | buckets: reading, listing, writing |
//! | [`digest`] | reading a local file once, for its bytes and its digest |
//! | [`sniff`](mod@sniff) | what bytes are, by their beginning |
//! | [`inspect`](mod@inspect) | the header only: format and size |
//! | [`decode`](mod@decode) | pixels, upright and without transparency |
//! | [`heif`] | [`Converter`]: AVIF and HEIC become PNG, in a process of their own |
//! | [`sandbox`] | what a process gives up before code in C sees a stranger's bytes |
//! | [`phash`] | what pixels look like, as 64 bits |
//! | [`prepare`](mod@prepare) | the same, scaled and encoded again for a model server |
//! | [`store`] | copies of images under their digest, in a folder or a bucket |
//! | [`limits`] | [`DecodeLimits`], [`ConvertLimits`], [`FetchLimits`] |

pub mod decode;
pub mod digest;
pub mod fetch;
pub mod heif;
pub mod inspect;
pub mod limits;
pub mod manners;
pub mod objects;
pub mod phash;
pub mod prepare;
pub mod sandbox;
pub mod sniff;
pub mod store;

pub use decode::error::DecodeError;
pub use decode::{Page, Place, decode, decode_frames};
pub use digest::read_file;
pub use fetch::error::{FetchError, FetcherError};
pub use fetch::post::{NoClient, PostError, Poster};
pub use fetch::{Answer, Fetcher, Validators};
pub use heif::{ConvertError, Converter};
pub use inspect::{Inspection, inspect};
pub use limits::{ConvertLimits, DecodeLimits, FetchLimits};
pub use manners::{Fetched, Manners, Polite, Stopped};
pub use objects::{ListedObject, Listing, ObjectError, ObjectOptions, Prefix, Trouble, Upload};
pub use phash::{perceptual_hash, perceptual_hash_of};
pub use prepare::{Encoding, Prepare, Prepared, prepare};
pub use sniff::{Sniff, sniff};
pub use store::{Kept, Store};
