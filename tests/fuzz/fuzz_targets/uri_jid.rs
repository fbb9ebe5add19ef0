#![no_main]
//! SIP URI ⇄ JID: whatever crosses comes back.

#[path = "../checks/uri_jid.rs"]
mod uri_jid;

libfuzzer_sys::fuzz_target!(|data: &[u8]| uri_jid::check(data));
