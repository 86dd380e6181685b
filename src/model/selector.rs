//! Kubernetes label selectors.
#![allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector;
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError;
