//! The stream machines against scripts, against each other, and against noise.

mod inbound;
mod management;
mod noise;
mod outbound;
mod pair;
mod sasl;
mod support;
mod transcripts;
mod words;
