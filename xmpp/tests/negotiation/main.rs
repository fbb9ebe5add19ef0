//! The stream machines against scripts, against each other, and against noise.

mod authority;
mod both_ways;
#[path = "../common/cases.rs"]
mod cases;
mod federation;
mod further_domains;
mod google_talk;
mod hostile;
mod inbound;
mod initiating;
mod management;
mod noise;
mod outbound;
mod pair;
mod receiving;
mod rfc6120_errors;
mod sasl;
mod spoofing;
mod support;
mod tls;
mod transcripts;
mod words;
mod xep0344;
