//! What the gateway answers: its real sessions and machines, fed with bytes, without a socket and on a virtual clock.

mod hearing;
mod house;
mod partner;
mod plan;
mod presence_contact;
mod presence_formats;
mod presence_hostile;
mod presence_outage;
mod presence_restart;
mod presence_rfc6121;
mod presence_show;
mod presence_trust;
mod presence_user;
mod presence_vectors;
mod stage;
mod text;

mod acknowledged;
mod disk;
mod errors;
mod faults;
mod floods;
mod front_end_away;
mod front_ends;
mod late;
mod many;
mod messages;
mod quiet;
mod reasons;
mod refusals;
mod sessions;
mod torture;
mod transactions;
mod transport;
mod trust;
mod watching;
