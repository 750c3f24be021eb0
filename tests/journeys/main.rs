//! Whole journeys: real binaries, real Mosquitto clients, real faults, an independent judge.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and says what it tried")]

mod audit;
#[cfg(feature = "aws")]
mod aws_iot;
mod bad_input;
mod bad_store;
mod broker;
mod emulated;
mod enrol;
mod expired;
mod fleet;
mod footprint;
mod http;
mod kills;
mod links;
mod local_mqtt;
mod meters;
mod mosquitto;
mod outage;
mod postgres;
mod restart;
mod revocation;
mod rigs;
mod rollover;
mod servers;
mod terminal;
mod timeseries;
mod token;
mod watchdog;
mod watching;
mod wire;
