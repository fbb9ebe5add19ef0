//! Comma lists: several values in one header field (RFC 3261 §7.3.1).

use crate::lex;

/// Elements of a comma list, trimmed; commas in quotes and angle brackets do not separate. Empty elements are
/// handed out too: whether they are an error is the caller's affair.
#[derive(Clone, Debug)]
pub struct CommaList<'a> {
    rest: Option<&'a str>,
}

impl<'a> CommaList<'a> {
    /// The elements of one header field value; an empty value has none.
    pub fn new(value: &'a str) -> Self {
        Self { rest: (!value.is_empty()).then_some(value) }
    }
}

impl<'a> Iterator for CommaList<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (element, rest) = lex::split_outside(self.rest?, b',', true);
        self.rest = rest;
        Some(lex::trim(element))
    }
}
