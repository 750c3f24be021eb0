//! Certificates of devices and gateways: the files they live in, whom they name, and the authority that signs them.
//!
//! Without features there is only what reads and writes key and certificate files ([`files`], [`owner`],
//! [`key_file`], [`pem_file`]), and what of a certificate a small device needs to know ([`key`], [`life`], [`name`]). `enrol` adds what
//! it needs to ask for one ([`claim`], [`signing_request`]), `identity` adds [`identity`] and [`inspect`], `authority` adds [`authority`]; `cli` adds the
//! `tributary-certs` command.

mod der;
pub mod files;
pub mod key;
pub mod key_file;
pub mod life;
pub mod name;
pub mod owner;
pub mod pem_file;

#[cfg(feature = "authority")]
pub mod authority;
#[cfg(feature = "enrol")]
pub mod claim;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "identity")]
pub mod identity;
#[cfg(feature = "identity")]
pub mod inspect;
#[cfg(feature = "enrol")]
pub mod signing_request;

#[cfg(feature = "authority")]
pub use authority::{Authority, AuthorityError};
pub use key::public_key;
pub use life::life;
pub use name::dns_name;
pub use pem_file::{PemFileError, read_certificates, read_crls, read_private_key};
