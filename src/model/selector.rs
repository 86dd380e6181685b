//! Kubernetes label selectors.
#![allow(missing_docs)]
use super::objects::Labels;
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector;
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError;
impl Selector { pub fn matches(&self, _: &Labels) -> bool { true } }
