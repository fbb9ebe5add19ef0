pub mod judge;
mod moment;
pub mod pair;
pub use moment::Moment;
