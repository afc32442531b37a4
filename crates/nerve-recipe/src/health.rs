//! The health of a network as lines of the record.

use crate::recipe::{Recipe, items};
use nerve_formats::spec::Item;
use nerve_track::{EventLog, Number, What};
use nerve_train::{Depth, Finding};

impl Recipe {
    /// Whether the length of the gradients is a curve: as the recipe says, and else where it matters
    /// to what is learned.
    pub(crate) fn grad_norm(&self) -> bool {
        let clips = |item: &Item| item.name.starts_with("clip");
        match self.log.has("grad_norm") {
            true => self.log.bool("grad_norm"),
            false => self.trainer.has("clip") || items(&self.trainer, "wrap").iter().any(clips),
        }
    }

    /// How much is looked at after each epoch; none if nothing is.
    pub(crate) fn depth(&self) -> Option<Depth> {
        match self.log.text("histograms") {
            "all" => Some(Depth::All),
            "weights" => Some(Depth::Weights),
            _ => None,
        }
    }
}

/// Writes down what was found after this epoch and step.
pub(crate) fn write(log: &EventLog, (epoch, step): (u64, u64), found: Vec<Finding>) {
    for finding in found {
        log.push(match finding {
            Finding::Histogram { tag, edges, counts, bad } => {
                What::Hist { step, epoch, tag, edges, counts, bad }
            }
            Finding::Layer { tag, values } => {
                let named = |(name, value): (&str, f64)| (name.to_string(), Number(value));
                What::Layer { step, epoch, tag, values: values.into_iter().map(named).collect() }
            }
        });
    }
}
