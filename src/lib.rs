pub mod cli;
pub mod config;
mod run;

pub use run::run;
