//! Random changes of the tokens of a text, while training only.
//!
//! A kind is one line in [`registry`]. The numbers that it draws depend on (seed, epoch, sample, place) alone.

use std::fmt::Debug;
use std::sync::Arc;

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

use super::PADDING;
use crate::Random;

/// A random change of the tokens of one text, in place.
pub trait TokenAugment: Debug + Send + Sync {
    /// Changes the tokens, of which at least one stays; gives how many there are afterwards. `unknown` is the token that
    /// says nothing.
    fn apply(&self, tokens: &mut [i32], unknown: i32, random: &mut Random) -> usize;
}

/// A kind of change: its description, and how to make one from checked arguments.
pub struct Entry {
    /// Name and parameters.
    pub spec: &'static Spec,
    /// Makes one.
    pub build: fn(&Args) -> Arc<dyn TokenAugment>,
}

/// All kinds.
///
/// ```
/// use nerve_data::Random;
/// use nerve_data::text::{UNKNOWN, augment::registry};
/// use nerve_formats::spec::{Value, check};
///
/// let entry = registry().iter().find(|entry| entry.spec.answers_to("RandomDeletion")).unwrap();
/// let args = check(entry.spec, &[("probability".into(), Value::Float(0.5))]).unwrap();
/// let mut tokens = [7, 8, 9, 10];
/// let left = (entry.build)(&args).apply(&mut tokens, UNKNOWN, &mut Random::keyed(&[1]));
/// println!("{:?}", &tokens[..left]);
/// ```
pub fn registry() -> &'static [Entry] {
    &REGISTRY
}

/// The descriptions of all kinds, for the recipe.
pub fn specs() -> Vec<&'static Spec> {
    registry().iter().map(|entry| entry.spec).collect()
}

/// The kind of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    registry().iter().find(|entry| entry.spec.answers_to(name))
}

const SHARE: Kind = Kind::fraction();

static REGISTRY: [Entry; 3] = [
    Entry { spec: &DROPOUT, build: |args| Arc::new(TokenDropout { probability: share(args) }) },
    Entry { spec: &DELETION, build: |args| Arc::new(RandomDeletion { probability: share(args) }) },
    Entry { spec: &SWAP, build: |args| Arc::new(RandomSwap { probability: share(args) }) },
];

fn share(args: &Args) -> f32 {
    args.float("probability") as f32
}

static DROPOUT: Spec = Spec {
    name: "TokenDropout",
    aliases: &["WordDropout", "token_dropout"],
    peers: Peers::NONE,
    doc: "Makes tokens unknown at random: the network learns not to lean on single words.",
    params: &[Param::with_default(
        "probability",
        SHARE,
        Value::Float(0.1),
        "share of the tokens that become unknown",
    )
    .alias(&["p"])],
};

static DELETION: Spec = Spec {
    name: "RandomDeletion",
    aliases: &["random_deletion"],
    peers: Peers::NONE,
    doc: "Leaves tokens out at random; the others move together.",
    params: &[Param::with_default(
        "probability",
        SHARE,
        Value::Float(0.1),
        "share of the tokens that are left out",
    )
    .alias(&["p"])],
};

static SWAP: Spec = Spec {
    name: "RandomSwap",
    aliases: &["random_swap"],
    peers: Peers::NONE,
    doc: "Swaps tokens with others of the text at random.",
    params: &[Param::with_default(
        "probability",
        SHARE,
        Value::Float(0.05),
        "share of the tokens that are swapped with any other",
    )
    .alias(&["p"])],
};

/// Makes tokens unknown (Iyyer et al., "Deep unordered composition rivals syntactic methods", ACL 2015).
#[derive(Clone, Debug)]
pub struct TokenDropout {
    /// The probability of each.
    pub probability: f32,
}

impl TokenAugment for TokenDropout {
    fn apply(&self, tokens: &mut [i32], unknown: i32, random: &mut Random) -> usize {
        for token in tokens.iter_mut() {
            if random.chance(self.probability) {
                *token = unknown;
            }
        }
        tokens.len()
    }
}

/// Leaves tokens out (Wei and Zou, "EDA: easy data augmentation", EMNLP 2019).
#[derive(Clone, Debug)]
pub struct RandomDeletion {
    /// The probability of each.
    pub probability: f32,
}

impl TokenAugment for RandomDeletion {
    fn apply(&self, tokens: &mut [i32], _: i32, random: &mut Random) -> usize {
        let mut left = 0;
        for at in 0..tokens.len() {
            // The last one stays where nothing else did.
            let last = at + 1 == tokens.len() && left == 0;
            if !random.chance(self.probability) || last {
                tokens[left] = tokens[at];
                left += 1;
            }
        }
        tokens[left..].fill(PADDING);
        left
    }
}

/// Swaps tokens with any other (Wei and Zou, 2019).
#[derive(Clone, Debug)]
pub struct RandomSwap {
    /// The probability of each.
    pub probability: f32,
}

impl TokenAugment for RandomSwap {
    fn apply(&self, tokens: &mut [i32], _: i32, random: &mut Random) -> usize {
        for at in 0..tokens.len() {
            if random.chance(self.probability) {
                tokens.swap(at, random.below(tokens.len() as u64) as usize);
            }
        }
        tokens.len()
    }
}

#[cfg(test)]
mod tests {
    use nerve_formats::spec::check;

    use super::super::UNKNOWN;
    use super::*;

    fn applied(augment: &dyn TokenAugment, len: i32, key: u64) -> Vec<i32> {
        let mut tokens: Vec<i32> = (2..2 + len).collect();
        let left = augment.apply(&mut tokens, UNKNOWN, &mut Random::keyed(&[key]));
        assert!(tokens[left..].iter().all(|&token| token == PADDING));
        tokens.truncate(left);
        tokens
    }

    #[test]
    fn every_kind_depends_on_its_key_alone_and_leaves_something() {
        for entry in registry() {
            let args = check(entry.spec, &[("probability".into(), Value::Float(0.9))]).unwrap();
            let augment = (entry.build)(&args);
            for key in 0..50 {
                let tokens = applied(&*augment, 12, key);
                assert_eq!(tokens, applied(&*augment, 12, key));
                assert!(!tokens.is_empty() && tokens.iter().all(|&token| token > 0));
                assert_eq!(applied(&*augment, 1, key).len(), 1);
            }
            let name = entry.spec.name;
            assert!(
                (1..50).any(|key| applied(&*augment, 12, key) != applied(&*augment, 12, 0)),
                "{name}"
            );
            assert!(find(name).is_some() && !entry.spec.doc.is_empty());
        }
    }

    #[test]
    fn about_the_given_share_is_changed() {
        let count = |augment: &dyn TokenAugment, f: fn(Vec<i32>) -> usize| -> usize {
            (0..200).map(|key| f(applied(augment, 50, key))).sum()
        };
        let unknown = |tokens: Vec<i32>| tokens.iter().filter(|&&token| token == UNKNOWN).count();
        let dropped = count(&TokenDropout { probability: 0.2 }, unknown);
        assert!((1850..2150).contains(&dropped), "{dropped} of 10000");
        let left = count(&RandomDeletion { probability: 0.2 }, |tokens| tokens.len());
        assert!((7850..8150).contains(&left), "{left} of 10000");
        let mut swapped = applied(&RandomSwap { probability: 0.5 }, 50, 1);
        assert_ne!(swapped, (2..52).collect::<Vec<i32>>());
        swapped.sort();
        assert_eq!(swapped, (2..52).collect::<Vec<i32>>());
    }
}
