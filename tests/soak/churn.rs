//! Changes of units: what a cluster's controllers and its people do, a write at a time.

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, RngExt};

use super::model::{Kind, Services, Slice, Slices, Unit, VARIANTS};

/// The slices of a unit that may come and go.
pub(crate) const SLICES: u8 = 4;

/// The states that a change goes through, each one write away from the one before, the mark's at the end.
pub(crate) enum Change {
    Services(Vec<Services>),
    Slices(Vec<Slices>),
}

/// Nothing but the next marks.
pub(crate) fn marks_only(unit: &Unit) -> [Change; 2] {
    [
        Change::Services(vec![next_services_mark(unit.services.last().clone())]),
        Change::Slices(vec![next_slices_mark(unit.slices.last().clone())]),
    ]
}

fn next_services_mark(state: Services) -> Services {
    Services { mark: state.mark + 1, ..state }
}

fn next_slices_mark(state: Slices) -> Slices {
    Slices { mark: state.mark + 1, ..state }
}

pub(crate) fn change(unit: &Unit, dice: &mut StdRng) -> Change {
    if dice.random_ratio(1, 4) {
        let old = unit.services.last();
        let mut states = service_change(old, dice);
        let last = states.last().unwrap_or(old).clone();
        states.push(next_services_mark(last));
        return Change::Services(states);
    }
    let old = unit.slices.last();
    let mut states = slices_change(unit, old, dice);
    let last = states.last().unwrap_or(old).clone();
    states.push(next_slices_mark(last));
    Change::Slices(states)
}

fn service_change(old: &Services, dice: &mut StdRng) -> Vec<Services> {
    let with = |service| Services { service, ..old.clone() };
    let variant = dice.random_range(0..VARIANTS);
    let kind = match dice.random_range(0..5) {
        0 | 1 => Kind::ClusterIp(variant),
        2 | 3 => Kind::Headless,
        _ => Kind::Alias(variant),
    };
    match old.service {
        None => vec![with(Some(kind))],
        // An alias is the one kind that may change in place.
        Some(Kind::Alias(_)) if dice.random() => vec![with(Some(Kind::Alias(variant)))],
        Some(_) if dice.random_ratio(1, 4) => vec![with(None)],
        // As another kind, of the same name.
        Some(_) => vec![with(None), with(Some(kind))],
    }
}

fn slices_change(unit: &Unit, old: &Slices, dice: &mut StdRng) -> Vec<Slices> {
    let numbers = || old.slices.keys().copied();
    let Some(number) = numbers().choose(dice) else { return vec![with_slice(old, 0, Some(a_slice(unit.pods, dice)))] };
    let slice = &old.slices[&number];
    let edit = |edit: &dyn Fn(&mut Slice)| {
        let mut slice = slice.clone();
        edit(&mut slice);
        slice
    };
    let pod = slice.endpoints.keys().copied().choose(dice);
    match (dice.random_range(0..10), pod) {
        (0..3, Some(pod)) => {
            let once =
                edit(&|slice| slice.endpoints.iter_mut().filter(|it| *it.0 == pod).for_each(|it| *it.1 = !*it.1));
            vec![with_slice(old, number, Some(once))]
        }
        (3, Some(pod)) => {
            let gone = edit(&|slice| slice.endpoints.retain(|it, _| *it != pod));
            vec![with_slice(old, number, Some(gone))]
        }
        (4 | 5, Some(pod)) => moved(old, number, pod, dice),
        (6, _) => {
            let elsewhere = edit(&|slice| slice.is_elsewhere = !slice.is_elsewhere);
            vec![with_slice(old, number, Some(elsewhere))]
        }
        (7, _) => {
            let free = (0..SLICES).find(|free| !old.slices.contains_key(free));
            match free {
                Some(free) => vec![with_slice(old, free, Some(a_slice(unit.pods, dice)))],
                None => vec![with_slice(old, number, None)],
            }
        }
        (8, _) => {
            // As a controller that packs slices anew: this one goes, and one that has its endpoints comes first.
            let free = (0..SLICES).find(|free| !old.slices.contains_key(free));
            let Some(free) = free else { return vec![with_slice(old, number, None)] };
            let both = with_slice(old, free, Some(slice.clone()));
            let one = with_slice(&both, number, None);
            vec![both, one]
        }
        _ => {
            let (pod, ready) = (dice.random_range(0..unit.pods), dice.random_ratio(3, 4));
            let more = edit(&|slice| slice.endpoints.extend([(pod, ready)]));
            vec![with_slice(old, number, Some(more))]
        }
    }
}

/// An endpoint goes from its slice to another: either both name it for a while, or neither.
fn moved(old: &Slices, from: u8, pod: u16, dice: &mut impl Rng) -> Vec<Slices> {
    let others = old.slices.iter().filter(|(number, slice)| **number != from && !slice.endpoints.contains_key(&pod));
    let Some((to, _)) = others.choose(dice) else { return Vec::new() };
    let ready = old.slices[&from].endpoints[&pod];
    let edited = |state: &Slices, number: u8, edit: &dyn Fn(&mut Slice)| {
        let mut slice = state.slices[&number].clone();
        edit(&mut slice);
        with_slice(state, number, Some(slice))
    };
    let add = |state: &Slices| edited(state, *to, &|slice| slice.endpoints.extend([(pod, ready)]));
    let remove = |state: &Slices| edited(state, from, &|slice| slice.endpoints.retain(|it, _| *it != pod));
    if dice.random() {
        let both = add(old);
        let moved = remove(&both);
        vec![both, moved]
    } else {
        let neither = remove(old);
        let moved = add(&neither);
        vec![neither, moved]
    }
}

fn with_slice(old: &Slices, number: u8, slice: Option<Slice>) -> Slices {
    let mut new = old.clone();
    match slice {
        Some(slice) => drop(new.slices.insert(number, slice)),
        None => drop(new.slices.remove(&number)),
    }
    new
}

/// A quarter of so many pods, most of them ready.
pub(crate) fn a_slice(pods: u16, dice: &mut StdRng) -> Slice {
    let chosen = (0..pods).sample(dice, usize::from(pods / 4).max(1));
    let endpoints = chosen.into_iter().map(|pod| (pod, dice.random_ratio(3, 4))).collect();
    Slice { is_elsewhere: false, endpoints }
}
