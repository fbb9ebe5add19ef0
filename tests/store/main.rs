//! The store on a real disk: what it keeps, what it survives, and what an administrator sees when it cannot.

mod child;
mod commands;
mod damaged;
mod faults;
mod full;
mod keeping;
mod killed;
mod read_only;
mod support;
