//! The room seen through its door.
mod binding;
mod registry;
mod remembered;
mod tokens;
