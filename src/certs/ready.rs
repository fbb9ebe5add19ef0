//! Which certificates are meant when something is to be put in its place.

use super::{Place, SelectError, Waiting, select, waiting};

/// Why nothing is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// Nothing was imported.
    #[error("nothing was imported that is not in use")]
    Nothing,
    /// There is nothing to go back to.
    #[error("nothing was in use before what is in use now")]
    NothingBefore,
    /// It is not clear which.
    #[error(transparent)]
    Select(#[from] SelectError),
}

/// Those that are named; where none is, all that wait for it. `undo`: what was there before is wanted back.
///
/// # Errors
/// None is meant, or it is not clear which.
pub fn ready<'a>(places: &'a [Place], wanted: &[String], undo: bool) -> Result<Vec<&'a Place>, NotReady> {
    if !wanted.is_empty() {
        return Ok(select(places, wanted)?);
    }
    let is_ready = |waiting: &Waiting| if undo { waiting.undo } else { waiting.certificate };
    let waits: Vec<Waiting> = waiting(places).into_iter().filter(is_ready).collect();
    match waits.as_slice() {
        [] if undo => Err(NotReady::NothingBefore),
        [] => Err(NotReady::Nothing),
        // All of them at once would be more than anybody means.
        [_, _, ..] if undo => Ok(select(places, &[])?),
        _ => Ok(places.iter().filter(|place| waits.iter().any(|waiting| waiting.place == **place)).collect()),
    }
}
