//! The program: everything that touches the world.

pub mod dns;
pub mod tls;
