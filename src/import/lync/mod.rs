//! `nuncio import lync`: what `Get-CsXmppAllowedPartner`, `Get-CsXmppGatewayConfiguration` and
//! `Get-CsExternalAccessPolicy` of Lync Server 2013 and its successor say, exported with `Export-Clixml`, `ConvertTo-Json` or
//! `Export-Csv`.
//!
//! [`Export::read`] makes objects with properties of the bytes, whichever form they have; [`Plan::new`] says what each becomes
//! here, what has no counterpart, and what cannot be taken over and why. Both are plain functions. What a plan has to write
//! was loaded by the same reader as the configuration, so that nothing is proposed that could not load.

mod access;
mod clixml;
mod csv;
mod decode;
mod differs;
mod gateway;
mod json;
mod parameters;
mod partner;
mod plan;
mod show;
mod trial;
mod value;

use nuncio_xmpp::ReadError as XmlError;

pub use access::{OtherPolicy, PolicyEntry};
pub use differs::Differs;
pub use gateway::LimitEntry;
pub use parameters::{Fate, Kind, Parameter, markdown};
pub use partner::{PartnerEntry, PartnerPlan};
pub use plan::{Choices, Known, LeftOut, Plan, Unmapped};
use value::Object;

/// Largest file that is read, in bytes: 10,000 partners in the most verbose form have less.
pub const MAX_FILE: usize = 16 * 1024 * 1024;
/// Most objects in one file.
pub const MAX_OBJECTS: usize = 10_000;

/// The objects of one or more files.
#[derive(Debug, Default)]
pub struct Export {
    objects: Vec<(Kind, Object)>,
}

/// Why a file cannot be read, as a sentence for the administrator that goes behind the name of the file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// One byte more than [`MAX_FILE`].
    #[error("it is larger than {MAX_FILE} bytes, which no export of partners is")]
    TooLarge,
    /// Neither UTF-8 nor UTF-16.
    #[error("its text is {0}; export it again with -Encoding UTF8")]
    Encoding(&'static str),
    /// No well-formed XML, or XML that no export has.
    #[error("it begins like CLIXML (Export-Clixml), but is not: {0}")]
    Xml(#[from] XmlError),
    /// XML of something else.
    #[error(
        "it is XML, but no CLIXML: the outermost element is not Objs; export with \
         \"Get-CsXmppAllowedPartner | Export-Clixml FILE\""
    )]
    NoClixml,
    /// No JSON.
    #[error("it begins like JSON (ConvertTo-Json), but is not: {0}")]
    Json(#[from] serde_json::Error),
    /// No table.
    #[error("as CSV (Export-Csv) it cannot be read: {0}")]
    Csv(#[from] ::csv::Error),
    /// Nothing in it.
    #[error("there is no object in it; does the cmdlet print anything?")]
    Empty,
    /// One object more than [`MAX_OBJECTS`].
    #[error("there are more than {MAX_OBJECTS} objects in it")]
    TooMany,
    /// An object of some other cmdlet.
    #[error(
        "object {number} is none of Get-CsXmppAllowedPartner, Get-CsXmppGatewayConfiguration and \
         Get-CsExternalAccessPolicy; it has: {properties}"
    )]
    Unknown {
        /// Its place in the file, from 1.
        number: usize,
        /// The names of its first properties.
        properties: String,
    },
    /// A property that is there twice.
    #[error("object {number} has the property {property} twice")]
    Twice {
        /// Its place in the file, from 1.
        number: usize,
        /// The property.
        property: String,
    },
}

impl Export {
    /// Adds what a file holds. Which form it has, its first character tells.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        if bytes.len() > MAX_FILE {
            return Err(ReadError::TooLarge);
        }
        let text = decode::text(bytes)?;
        let objects = match text.trim_start().chars().next() {
            None => return Err(ReadError::Empty),
            Some('<') => clixml::read(&text)?,
            Some('{' | '[') => json::read(&text)?,
            Some(_) => csv::read(&text)?,
        };
        if objects.is_empty() {
            return Err(ReadError::Empty);
        }
        for (index, object) in objects.into_iter().enumerate() {
            if self.objects.len() >= MAX_OBJECTS {
                return Err(ReadError::TooMany);
            }
            let number = index + 1;
            if let Some(property) = object.twice() {
                return Err(ReadError::Twice { number, property });
            }
            let kind = Kind::of(&object)
                .ok_or_else(|| ReadError::Unknown { number, properties: object.first_names() })?;
            self.objects.push((kind, object));
        }
        Ok(())
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.objects.iter().filter(|(of, _)| *of == kind).count()
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(move |(of, _)| *of == kind).map(|(_, object)| object)
    }
}

#[cfg(test)]
mod tests;
