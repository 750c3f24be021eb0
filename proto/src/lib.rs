//! What both ends agree on: readings, the bodies and frames that carry them, and the messages that settle them.
//!
//! Values only: no clock, no socket, no async. Without default features it is `no_std` + `alloc`, so that
//! firmware can speak it. Everything on the wire is postcard behind a version byte, and decoding is total:
//! any bytes give a value or an error.
//!
//! From the outside in: a [`Frame`] carries sealed [`Body`]s, a body holds one [`Column`] per [`Series`], a column
//! holds [`Reading`]s. [`Topic`] names where a message goes; [`message`] holds the messages that are not frames, and
//! [`enrol`] those that bring a device its certificate.

#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

extern crate alloc;

pub mod body;
pub mod device;
pub mod enrol;
pub mod frame;
pub mod message;
pub mod ranges;
pub mod reading;
#[cfg(feature = "senml")]
pub mod senml;
pub mod series;
pub mod time;
pub mod topic;
mod wire;

pub use body::{Body, BodyHash, Column};
pub use device::DeviceId;
pub use frame::{Frame, Lane};
pub use ranges::{Range, Ranges};
pub use reading::{Change, Origin, Reading, State, Value};
pub use series::{Kind, Series, SeriesName, Unit};
pub use time::{Basis, BootId, Clock, Instant, Quality};
pub use topic::{Channel, Topic};
pub use wire::{DecodeError, Epoch, Nonce, Number, VERSION};

/// No publish is larger than this: the limit of AWS IoT Core's broker (128 KiB, not adjustable).
pub const FRAME_BYTES_MAX: usize = 128 * 1024;
/// Readings a body may hold.
pub const BODY_READINGS_MAX: usize = 65_536;
/// Series (columns) a body may hold.
pub const BODY_SERIES_MAX: usize = 1_024;
/// Bytes of one text value, and of one name an origin gives its record.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Bytes of one event's JSON: a treatment or a loop status fits many times over.
pub const EVENT_BYTES_MAX: usize = 8 * 1024;
