//! Beam search.

use super::choice::{adjust, best, log_softmax};
use super::generator::{Steps, piece};
use super::{Beam, GenerateError, Generated, Options};

/// A sequence that is followed.
#[derive(Clone, Debug)]
struct Hypothesis {
    /// Prompt and new tokens.
    tokens: Vec<i32>,
    /// Σ log p; −∞ for one that only fills its row.
    log_probability: f64,
}

/// The sequences that continue one prompt.
struct Group {
    /// Tokens of the prompt.
    prompt: usize,
    /// As many as there are beams, best first.
    live: Vec<Hypothesis>,
    /// With their scores.
    ended: Vec<(f64, Generated)>,
    done: bool,
}

pub(super) struct Search<'a> {
    groups: Vec<Group>,
    beam: Beam,
    options: &'a Options,
}

impl<'a> Search<'a> {
    pub fn new(prompts: &[Vec<i32>], beam: Beam, options: &'a Options) -> Search<'a> {
        let group = |prompt: &Vec<i32>| {
            // At first all are the same one, which is followed once.
            let live = (0..beam.beams).map(|i| Hypothesis {
                tokens: prompt.clone(),
                log_probability: if i == 0 { 0.0 } else { f64::NEG_INFINITY },
            });
            Group { prompt: prompt.len(), live: live.collect(), ended: vec![], done: false }
        };
        Search { groups: prompts.iter().map(group).collect(), beam, options }
    }

    /// The best continuation of each prompt; what is there already if it is not `wanted` any more.
    pub fn run(
        mut self,
        vocabulary: usize,
        network: &dyn Steps,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Vec<Generated>, GenerateError> {
        let rows = self.groups.len() * self.beam.beams;
        let shortest = self.groups.iter().map(|group| group.prompt).min().unwrap_or(0);
        let mut at = 0;
        while !self.groups.iter().all(|group| group.done) && wanted() {
            let count = piece(at, shortest);
            let live = self.groups.iter().flat_map(|group| &group.live);
            let tokens: Vec<i32> = live
                .flat_map(|h| (at..at + count).map(|i| h.tokens.get(i).copied().unwrap_or(0)))
                .collect();
            let logits = network.logits(&tokens, rows, at)?;
            at += count;
            let mut parents: Vec<i32> = (0..rows as i32).collect();
            let width = self.beam.beams * vocabulary;
            for (i, (group, logits)) in self.groups.iter_mut().zip(logits.chunks(width)).enumerate()
            {
                if group.done || group.live[0].tokens.len() != at {
                    continue;
                }
                let first = i * self.beam.beams;
                for (j, parent) in
                    group.extend(logits, self.beam, self.options).into_iter().enumerate()
                {
                    parents[first + j] = (first + parent) as i32;
                }
            }
            if parents.iter().enumerate().any(|(i, &parent)| parent != i as i32) {
                network.reorder(&parents)?;
            }
        }
        Ok(self.groups.into_iter().map(Group::best).collect())
    }
}

/// The score of a sequence of `length` new tokens.
fn score(log_probability: f64, length: usize, beam: Beam) -> f64 {
    log_probability / (length as f64).powf(beam.length_penalty)
}

impl Group {
    /// One more token for each; gives which one each continues.
    fn extend(&mut self, logits: &[f32], beam: Beam, options: &Options) -> Vec<usize> {
        let vocabulary = logits.len() / beam.beams;
        let mut totals = Vec::with_capacity(logits.len());
        for (h, logits) in self.live.iter().zip(logits.chunks(vocabulary)) {
            let mut logits: Vec<f64> = logits.iter().map(|&l| f64::from(l)).collect();
            adjust(&mut logits, &h.tokens, h.tokens.len() - self.prompt, options);
            totals.extend(log_softmax(&logits).iter().map(|l| h.log_probability + l));
        }
        let (mut next, mut parents) = (Vec::new(), Vec::new());
        // As many may end as go on.
        for (rank, at) in best(&totals, 2 * beam.beams).into_iter().enumerate() {
            let (parent, token) = (at / vocabulary, (at % vocabulary) as i32);
            let mut tokens = self.live[parent].tokens.clone();
            tokens.push(token);
            let h = Hypothesis { tokens, log_probability: totals[at] };
            if options.stop.contains(&token) {
                if rank < beam.beams && h.log_probability > f64::NEG_INFINITY {
                    self.end(h, true, beam);
                }
            } else if next.len() < beam.beams {
                next.push(h);
                parents.push(parent);
            }
        }
        // With few tokens there may be fewer continuations than rows; a row must hold something.
        while next.len() < beam.beams {
            let mut tokens = self.live[0].tokens.clone();
            tokens.push(0);
            next.push(Hypothesis { tokens, log_probability: f64::NEG_INFINITY });
            parents.push(0);
        }
        self.live = next;
        self.settle(beam, options);
        parents
    }

    fn end(&mut self, h: Hypothesis, stopped: bool, beam: Beam) {
        let (log_probability, tokens) = (h.log_probability, h.tokens[self.prompt..].to_vec());
        let score = score(log_probability, tokens.len(), beam);
        self.ended.push((score, Generated { tokens, log_probability, stopped }));
        // Stable: of equals the first.
        self.ended.sort_by(|a, b| b.0.total_cmp(&a.0));
        self.ended.truncate(beam.beams);
    }

    /// Whether there is nothing more to find.
    fn settle(&mut self, beam: Beam, options: &Options) {
        let length = self.live[0].tokens.len() - self.prompt;
        let top = self.live[0].log_probability;
        if length >= options.max_new {
            for h in std::mem::take(&mut self.live) {
                if h.log_probability > f64::NEG_INFINITY {
                    self.end(h.clone(), false, beam);
                }
                self.live.push(h);
            }
            self.done = true;
            return;
        }
        // Probabilities only fall; with a positive exponent length helps, at most to the end.
        let most = if beam.length_penalty > 0.0 { options.max_new } else { length + 1 };
        let full = self.ended.len() == beam.beams;
        let worst = self.ended.last().map_or(f64::NEG_INFINITY, |(score, _)| *score);
        self.done = (full && worst >= score(top, most, beam)) || top == f64::NEG_INFINITY;
    }

    fn best(self) -> Generated {
        let nothing = Generated { tokens: vec![], log_probability: 0.0, stopped: false };
        self.ended.into_iter().next().map_or(nothing, |(_, generated)| generated)
    }
}
