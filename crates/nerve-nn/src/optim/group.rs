//! Groups: which parameters are changed together, and with which settings.

use crate::pattern;
use crate::regularize::{Constraint, Regularizer};
use nerve_core::{Arena, DType, Tensor, Var};
use std::sync::Arc;

/// Parameters chosen by path, and what is special about them.
///
/// Each parameter belongs to the first group that it fits; what fits none keeps the settings of the
/// optimizer. Each group is a block of memory of its own, so a step is one pass for each group.
///
/// ```
/// use nerve_nn::optim::{AdamW, Group, Optimizer};
/// use nerve_nn::{Params, layers::Linear};
/// let params = Params::new(1);
/// Linear::new(&params.at("body"), 4, 8);
/// Linear::new(&params.at("head"), 8, 2);
/// // No decay of biases and norms; the body, which is trained already, learns slowly.
/// let adamw = AdamW::new(&params, 1e-3).groups(&[
///     Group::vectors().weight_decay(0.0),
///     Group::of(&["body"]).lr_factor(0.1),
/// ]);
/// assert_eq!(adamw.core().blocks().len(), 3);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Group {
    patterns: Option<Vec<String>>,
    max_rank: Option<usize>,
    settings: Settings,
}

/// What is special about a group.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The learning rate is multiplied by this.
    pub lr_factor: f64,
    /// The weight decay; without it that of the optimizer.
    pub weight_decay: Option<f64>,
    /// Whether its parameters stay as they are.
    pub frozen: bool,
    /// In how many epochs from the first on they stay as they are.
    pub freeze_epochs: u64,
    /// A penalty on the size of its parameters.
    pub regularizer: Option<Arc<dyn Regularizer>>,
    /// What its parameters are made to fulfil after each step.
    pub constraint: Option<Arc<dyn Constraint>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            lr_factor: 1.0,
            weight_decay: None,
            frozen: false,
            freeze_epochs: 0,
            regularizer: None,
            constraint: None,
        }
    }
}

impl Group {
    /// The parameters whose path one of the patterns matches; see [`pattern::matches`]. A group
    /// without any parameter is an error, which shows misspelt patterns.
    pub fn of(patterns: &[&str]) -> Group {
        let patterns = patterns.iter().map(|pattern| pattern.to_string()).collect();
        Group { patterns: Some(patterns), ..Group::default() }
    }

    /// All parameters.
    pub fn all() -> Group {
        Group::default()
    }

    /// Those with one axis or none: biases, and the scales and shifts of normalisations, which
    /// weight decay is usually kept from.
    pub fn vectors() -> Group {
        Group { max_rank: Some(1), ..Group::default() }
    }

    /// Of these only those with at most so many axes.
    #[must_use]
    pub fn max_rank(self, rank: usize) -> Group {
        Group { max_rank: Some(rank), ..self }
    }

    /// With a learning rate multiplied by this.
    #[must_use]
    pub fn lr_factor(mut self, factor: f64) -> Group {
        self.settings.lr_factor = factor;
        self
    }

    /// With this weight decay, whatever the optimizer has.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Group {
        self.settings.weight_decay = Some(weight_decay);
        self
    }

    /// Left as they are, without gradient: as [`Params::freeze`](crate::Params::freeze).
    #[must_use]
    pub fn frozen(mut self) -> Group {
        self.settings.frozen = true;
        self
    }

    /// Left as they are in the first `epochs` epochs, and trained from then on: a body that was
    /// trained before waits until a new head makes sense. What the optimizer remembers of them, its
    /// count of steps too, stays at its beginning; they have no part in the length of the gradient,
    /// no decay, no penalty. The trainer counts the epochs; a loop of one's own calls
    /// [`begin_epoch`](super::Optimizer::begin_epoch). It is a choice between two values in the pass
    /// of the update: gradients are computed all the same, and nothing is compiled anew.
    ///
    /// ```
    /// use nerve_core::{Tensor, compile};
    /// use nerve_nn::optim::{Group, Optimizer, Sgd};
    /// use nerve_nn::{Params, init::Zeros};
    /// let params = Params::new(1);
    /// let body = params.var("body", [1], &Zeros);
    /// let head = params.var("head", [1], &Zeros);
    /// let sgd = Sgd::new(&params, 1.0).groups(&[Group::of(&["body"]).freeze_epochs(1)]);
    /// let step = compile(|_: &[Tensor]| {
    ///     sgd.minimize(&(body.get() + head.get()).sum());
    ///     vec![]
    /// });
    /// let mut path = Vec::new();
    /// for epoch in 1..=2 {
    ///     sgd.begin_epoch(epoch);
    ///     step.call(&[]);
    ///     path.push((body.to_vec::<f32>()[0], head.to_vec::<f32>()[0]));
    /// }
    /// assert_eq!(path, [(0.0, -1.0), (-1.0, -2.0)]);
    /// ```
    #[must_use]
    pub fn freeze_epochs(mut self, epochs: u64) -> Group {
        self.settings.freeze_epochs = epochs;
        self
    }

    /// With a penalty on their size.
    #[must_use]
    pub fn regularizer(mut self, regularizer: impl Regularizer + 'static) -> Group {
        self.settings.regularizer = Some(Arc::new(regularizer));
        self
    }

    /// With a constraint that they fulfil after each step.
    #[must_use]
    pub fn constraint(mut self, constraint: impl Constraint + 'static) -> Group {
        self.settings.constraint = Some(Arc::new(constraint));
        self
    }

    /// With all these settings.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Group {
        Group { settings, ..self }
    }

    fn fits(&self, var: &Var) -> bool {
        let named = |patterns: &Vec<String>| {
            patterns.iter().any(|pattern| pattern::matches(pattern, var.name()))
        };
        self.patterns.as_ref().is_none_or(named)
            && self.max_rank.is_none_or(|most| var.shape().len() <= most)
    }

    fn describe(&self) -> String {
        let patterns = self.patterns.iter().flatten().map(|p| format!("`{p}`"));
        match (patterns.collect::<Vec<_>>().join(", "), self.max_rank) {
            (patterns, None) => patterns,
            (patterns, Some(rank)) => format!("{patterns} with at most {rank} axes"),
        }
    }
}

/// The parameters of a group in one block of memory.
pub struct Block {
    pub(super) arena: Arena,
    pub(super) settings: Settings,
}

impl Block {
    /// The block.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// What is special about it.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Numbers for each parameter, in the layout of the block: what an optimizer remembers. Named
    /// `name.path`; each begins with the value that `start` gives.
    pub fn slot(&self, name: &str, start: impl Fn(&Var) -> Tensor) -> Arena {
        let slot = |var: &Var| Var::new(format!("{name}.{}", var.name()), start(var));
        Arena::new(name, &self.arena.parts().iter().map(slot).collect::<Vec<_>>())
    }

    /// A slot that begins with zeros.
    pub fn zeros(&self, name: &str) -> Arena {
        self.slot(name, |var| Tensor::full(var.shape(), 0.0, var.dtype()))
    }

    /// A slot that begins with the values of the parameters.
    pub fn copies(&self, name: &str) -> Arena {
        self.slot(name, |var| var.get().evaluated())
    }
}

/// What every optimizer has: parameters in blocks, and the learning rate.
pub struct Core {
    blocks: Vec<Block>,
    parameters: Vec<Var>,
    rate: Var,
    /// The number of the epoch, where a block waits for one.
    epoch: Option<Var>,
}

impl Core {
    /// The parameters moved into one block for each group that has any. Those of no group come
    /// first.
    ///
    /// # Errors
    /// If no parameter is left, or a group has none.
    pub(super) fn new(vars: &[Var], groups: &[Group], learning_rate: f64) -> Result<Core, String> {
        let mut members: Vec<Vec<Var>> = vec![Vec::new(); groups.len() + 1];
        for var in vars {
            let place = groups.iter().position(|group| group.fits(var)).map_or(0, |i| i + 1);
            members[place].push(var.clone());
        }
        let none = || "there is nothing to train: no trainable parameter".to_string();
        if vars.is_empty() {
            return Err(none());
        }
        for group in groups {
            // Where no pattern was written, none was misspelt.
            if group.patterns.is_some() && !vars.iter().any(|var| group.fits(var)) {
                let some: Vec<&str> = vars.iter().take(8).map(Var::name).collect();
                let (what, some) = (group.describe(), some.join(", "));
                return Err(format!(
                    "no trainable parameter fits the group {what}; there are {some}"
                ));
            }
        }
        let settings = std::iter::once(Settings::default())
            .chain(groups.iter().map(|group| group.settings.clone()));
        let blocks: Vec<Block> = members
            .iter()
            .zip(settings)
            .filter(|(members, settings)| !members.is_empty() && !settings.frozen)
            .map(|(members, settings)| Block { arena: Arena::new("parameters", members), settings })
            .collect();
        if blocks.is_empty() {
            return Err(none());
        }
        let parameters: Vec<Var> =
            blocks.iter().flat_map(|block| block.arena.parts()).cloned().collect();
        let number = |start: f64| Tensor::full([], start, parameters[0].dtype());
        let rate = Var::new("learning_rate", number(learning_rate));
        let waits = blocks.iter().any(|block| block.settings.freeze_epochs > 0);
        let epoch = waits.then(|| Var::new("epoch", number(1.0)));
        Ok(Core { blocks, parameters, rate, epoch })
    }

    /// The blocks.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The parameters, block after block.
    pub fn parameters(&self) -> &[Var] {
        &self.parameters
    }

    /// The learning rate: one number.
    pub fn rate(&self) -> &Var {
        &self.rate
    }

    /// Notes which epoch begins, counted from 1.
    pub(super) fn begin_epoch(&self, epoch: u64) {
        match &self.epoch {
            Some(var) if var.dtype() == DType::F64 => var.write(&[epoch as f64]),
            Some(var) => var.write(&[epoch as f32]),
            None => {}
        }
    }

    /// Whether the parameters of a block are trained in this epoch: one truth value, or none where
    /// they always are. In a compiled function.
    pub(super) fn learns(&self, block: &Block) -> Option<Tensor> {
        let epoch = self.epoch.as_ref().filter(|_| block.settings.freeze_epochs > 0)?;
        Some(epoch.get().gt(block.settings.freeze_epochs as f64))
    }

    /// A number that starts with this, in the type of the parameters.
    pub fn number(&self, name: &str, start: f64) -> Var {
        Var::new(name, Tensor::full([], start, self.dtype()))
    }

    /// The type of the parameters.
    pub fn dtype(&self) -> DType {
        self.rate.dtype()
    }

    /// Gradients of each parameter as one tensor for each block; zeros where the block waits for its
    /// epoch.
    ///
    /// # Panics
    /// If their shapes are not those of the parameters.
    #[track_caller]
    pub fn gather(&self, tensors: &[Tensor]) -> Vec<Tensor> {
        let (n, found) = (self.parameters.len(), tensors.len());
        assert!(n == found, "an optimizer of {n} parameters is given {found} gradients");
        let mut rest = tensors;
        let mut take = |block: &Block| {
            let (of_block, others) = rest.split_at(block.arena.parts().len());
            rest = others;
            let all = block.arena.gather(of_block);
            match self.learns(block) {
                Some(learns) => learns.select(&all, &all.zeros_like()),
                None => all,
            }
        };
        self.blocks.iter().map(&mut take).collect()
    }

    /// √Σx² over all elements of all tensors: of gradients the global norm, one number. In a compiled
    /// function, where it costs nothing beside an optimizer that clips by it: equal nodes are one.
    ///
    /// # Panics
    /// If there are none.
    pub fn norm(tensors: &[Tensor]) -> Tensor {
        let squares = tensors.iter().map(|tensor| tensor.square().sum());
        squares.reduce(|a, b| a + b).expect("at least one block").sqrt()
    }
}
