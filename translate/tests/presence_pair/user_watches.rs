//! The SIP user watches the contact.
