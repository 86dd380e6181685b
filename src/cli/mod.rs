//! Stub.
pub mod args;
