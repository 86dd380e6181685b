//! The live objects and their joins.
#![allow(missing_docs)]
pub struct Cluster;
pub struct Change;
pub struct Filter;
pub struct Visibility;
