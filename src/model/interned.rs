//! Values that many objects have, held once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use ahash::RandomState;

/// The values that are in use. What nobody holds any more goes with the next [`Interned::tidy`].
#[derive(Debug)]
pub(super) struct Interned<T: ?Sized>(HashSet<Arc<T>, RandomState>);

impl<T: ?Sized> Default for Interned<T> {
    fn default() -> Self {
        Self(HashSet::default())
    }
}

impl<T: Eq + Hash + ?Sized> Interned<T> {
    /// Puts the value that is held in the place of its equal.
    pub(super) fn share(&mut self, value: &mut Arc<T>) {
        match self.0.get(value) {
            Some(held) => *value = Arc::clone(held),
            None => drop(self.0.insert(Arc::clone(value))),
        }
    }

    /// Lets go of what nobody else holds.
    pub(super) fn tidy(&mut self) {
        self.0.retain(|value| Arc::strong_count(value) > 1);
        self.0.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_held_once_and_let_go() {
        let mut interned = Interned::default();
        let (mut one, mut other): (Arc<str>, Arc<str>) = ("a".into(), "a".into());
        interned.share(&mut one);
        interned.share(&mut other);
        assert!(Arc::ptr_eq(&one, &other));
        interned.tidy();
        assert_eq!(interned.0.len(), 1);
        drop((one, other));
        interned.tidy();
        assert!(interned.0.is_empty());
    }
}
