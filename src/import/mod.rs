//! What other products export, read and turned into configuration of ours.

pub mod lync;
