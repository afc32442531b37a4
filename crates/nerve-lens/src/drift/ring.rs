//! The last values of a column, written by many threads without a lock.

use super::sketch::{Names, Numbers};
use super::summary::Summary;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The last values of a column: a ring of words, one a row. Writers never wait; a reader may see a value of the next round
/// among those of the last, which is a row as good as another.
#[derive(Debug)]
pub struct Ring {
    slots: Vec<AtomicU64>,
    next: AtomicU64,
}

/// No value. As a number it is no finite one.
const MISSING: u64 = u64::MAX;
/// A name that is not among those of the reference.
const OTHER: u64 = u64::MAX - 1;

impl Ring {
    /// For this many rows, at least one.
    pub fn new(rows: usize) -> Ring {
        let slots = (0..rows.max(1)).map(|_| AtomicU64::new(MISSING)).collect();
        Ring { slots, next: AtomicU64::new(0) }
    }

    fn push(&self, word: u64) {
        let at = self.next.fetch_add(1, Relaxed);
        self.slots[(at % self.slots.len() as u64) as usize].store(word, Relaxed);
    }

    /// Adds a number.
    pub fn number(&self, number: f64) {
        self.push(if number.is_finite() { number.to_bits() } else { MISSING });
    }

    /// Adds the name of this number in the list of the reference, or another one.
    pub fn name(&self, number: Option<usize>) {
        self.push(number.map_or(OTHER, |number| number as u64));
    }

    /// Adds a row without a value.
    pub fn missing(&self) {
        self.push(MISSING);
    }

    /// How many rows were added since the beginning.
    pub fn added(&self) -> u64 {
        self.next.load(Relaxed)
    }

    fn words(&self) -> impl Iterator<Item = u64> {
        let filled = self.added().min(self.slots.len() as u64) as usize;
        self.slots[..filled].iter().map(|slot| slot.load(Relaxed))
    }

    /// The numbers in it.
    pub fn numbers(&self) -> Summary {
        let mut numbers = Numbers::new(self.slots.len());
        // What is not finite counts as missing.
        self.words().for_each(|word| numbers.add(f64::from_bits(word)));
        Summary::Numbers(numbers.summary())
    }

    /// The names in it, `known` being the list of the reference; what is not in it is `other`.
    pub fn names(&self, known: &[&str], other: &str) -> Summary {
        let mut names = Names::default();
        for word in self.words() {
            match (word, usize::try_from(word).ok().and_then(|at| known.get(at))) {
                (MISSING, _) => names.missing(),
                (_, Some(name)) => names.add(name),
                _ => names.add(other),
            }
        }
        Summary::Names(names.summary())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rows_are_remembered() {
        let ring = Ring::new(3);
        assert_eq!(ring.numbers().count(), 0);
        [1.0, 2.0, f64::NAN, 4.0].into_iter().for_each(|x| ring.number(x));
        let Summary::Numbers(numbers) = ring.numbers() else { panic!() };
        assert_eq!((numbers.points, numbers.missing), (vec![(2.0, 1.0), (4.0, 1.0)], 1));
        assert_eq!(ring.added(), 4);
    }

    #[test]
    fn names_are_those_of_the_reference_or_another() {
        let ring = Ring::new(10);
        [Some(1), None, Some(1), Some(0)].into_iter().for_each(|name| ring.name(name));
        ring.missing();
        let Summary::Names(names) = ring.names(&["a", "b"], "others") else { panic!() };
        let expected = [("a", 1), ("b", 2), ("others", 1)].map(|(n, r)| (n.to_string(), r));
        assert_eq!((names.names, names.missing), (expected.to_vec(), 1));
    }

    #[test]
    fn many_threads_add_at_once() {
        let ring = Ring::new(1 << 14);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let ring = &ring;
                scope.spawn(move || {
                    (0..1000).for_each(|i| ring.number(f64::from(thread * 1000 + i)))
                });
            }
        });
        let Summary::Numbers(numbers) = ring.numbers() else { panic!() };
        let values: Vec<f64> = numbers.points.iter().map(|point| point.0).collect();
        assert_eq!(values, (0..4000).map(f64::from).collect::<Vec<_>>());
    }
}
