//! Rules: how one number follows its gradient; and what carries a rule out.

use super::group::{Block, Core, Group};
use super::{Memory, Optimizer};
use crate::params::Params;
use nerve_core::{Arena, Shape, Tensor, Var, grad};

/// What an optimizer is: what it remembers of each parameter, and a formula.
pub trait Rule: Send + Sync + 'static {
    /// What it remembers of `parameter` from step to step.
    fn slots(&self, parameter: &Var) -> Vec<Slot>;

    /// The parameter after the step, given the parameter `w` and its gradient `g`. `slots` hold
    /// what [`slots`](Rule::slots) described, and afterwards what is to be remembered.
    fn update(&self, now: &Now, w: &Tensor, g: &Tensor, slots: &mut [Tensor]) -> Tensor;

    /// Whether each element goes its own way. Then `w`, `g` and the slots are a whole block of
    /// parameters, with one axis, and the step is one fused pass; else [`update`](Rule::update) is
    /// called for each parameter, in its shape.
    fn elementwise(&self) -> bool {
        true
    }

    /// Whether it needs to know the number of the step.
    fn counts(&self) -> bool {
        true
    }

    /// The weight decay of groups that have none of their own.
    fn weight_decay(&self) -> f64 {
        0.0
    }

    /// Numbers that it remembers once, not for each parameter: names and first values.
    fn numbers(&self) -> &'static [(&'static str, f64)] {
        &[]
    }

    /// The new values of those numbers, once a step.
    fn next_numbers(&self, count: &Tensor, numbers: &[Tensor]) -> Vec<Tensor> {
        let _ = count;
        numbers.to_vec()
    }
}

/// Something that is remembered of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Its name.
    pub name: &'static str,
    /// Its shape; that of the parameter where the rule goes element by element.
    pub shape: Shape,
    /// What all its elements begin with.
    pub start: f64,
}

impl Slot {
    /// One number for each of the parameter, zero at first.
    pub fn like(name: &'static str, parameter: &Var) -> Slot {
        Slot { name, shape: parameter.shape().clone(), start: 0.0 }
    }
}

/// What is the same for all parameters of a block in one step.
pub struct Now {
    /// The learning rate η.
    pub rate: Tensor,
    /// The weight decay λ.
    pub weight_decay: f64,
    /// The new values of [`Rule::numbers`].
    pub numbers: Vec<Tensor>,
    count: Option<Tensor>,
}

impl Now {
    /// The number t of the step, from 1. As a float it stays at 2²⁴ (f32) once it gets there, where
    /// corrections have long been 1.
    ///
    /// # Panics
    /// If the rule does not count.
    pub fn count(&self) -> &Tensor {
        self.count.as_ref().expect("a rule that counts")
    }

    /// 1 − βᵗ without cancellation: for t = 1 and β = 0.999 a power would lose three digits.
    pub fn correction(&self, beta: f64) -> Tensor {
        -(self.count() * beta.ln()).expm1()
    }

    /// The same with another rate.
    #[must_use]
    pub fn with_rate(&self, rate: Tensor) -> Now {
        let (numbers, count) = (self.numbers.clone(), self.count.clone());
        Now { rate, weight_decay: self.weight_decay, numbers, count }
    }

    /// The gradient with that of the penalty λ/2 · |w|².
    pub fn penalized(&self, w: &Tensor, g: &Tensor) -> Tensor {
        if self.weight_decay > 0.0 { g + w * self.weight_decay } else { g.clone() }
    }

    /// (1 − η λ) w: decay that does not pass through the gradient.
    pub fn decayed(&self, w: &Tensor) -> Tensor {
        if self.weight_decay == 0.0 {
            return w.clone();
        }
        let kept = 1.0 - &self.rate * self.weight_decay;
        w * kept
    }
}

/// Carries out a [`Rule`] for the parameters of a network: an [`Optimizer`].
pub struct Updater<R> {
    rule: R,
    vars: Vec<Var>,
    groups: Vec<Group>,
    core: Core,
    /// What is remembered, for each block.
    kept: Vec<Kept>,
    clock: Clock,
    /// For each block that waits for its epoch a clock of its own, which starts then.
    late: Vec<Option<Clock>>,
}

/// The steps that are done, and what a rule remembers once for all parameters.
struct Clock {
    count: Option<Var>,
    numbers: Vec<Var>,
}

impl Clock {
    /// Its variables have names that end with `of`.
    fn new<R: Rule>(rule: &R, core: &Core, of: &str) -> Clock {
        let number = |name: &str, start| core.number(&format!("{name}{of}"), start);
        Clock {
            count: rule.counts().then(|| number("step", 0.0)),
            numbers: rule.numbers().iter().map(|&(name, start)| number(name, start)).collect(),
        }
    }

    /// The number of this step, and the new values of the numbers; where it does not learn, they are
    /// not kept.
    fn next<R: Rule>(&self, rule: &R, learns: Option<&Tensor>) -> (Option<Tensor>, Vec<Tensor>) {
        let count = self.count.as_ref().map(|count| count.get() + 1.0);
        let mut numbers: Vec<Tensor> = self.numbers.iter().map(Var::get).collect();
        if let Some(count) = &count {
            numbers = rule.next_numbers(count, &numbers);
        }
        let vars = self.count.iter().chain(&self.numbers);
        for (var, value) in vars.zip(count.iter().chain(&numbers)) {
            var.set(chosen(learns, value.clone(), &var.get()));
        }
        (count, numbers)
    }

    fn memory(&self) -> impl Iterator<Item = Memory<'_>> {
        self.count.iter().chain(&self.numbers).map(Memory::One)
    }
}

/// The new value where a block learns, the old one where it waits.
fn chosen(learns: Option<&Tensor>, new: Tensor, old: &Tensor) -> Tensor {
    match learns {
        Some(learns) => learns.select(&new, old),
        None => new,
    }
}

enum Kept {
    /// Of a whole block, slot after slot.
    Block(Vec<Arena>),
    /// Of each parameter.
    Each(Vec<Vec<Var>>),
}

impl<R: Rule> Updater<R> {
    /// For all trainable parameters.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn new(rule: R, params: &Params, learning_rate: f64) -> Updater<R> {
        expect(Updater::try_new(rule, &params.trainable(), &[], learning_rate))
    }

    /// For these parameters in these groups.
    ///
    /// # Errors
    /// If there are no parameters, or none in one of the groups.
    pub fn try_new(
        rule: R,
        vars: &[Var],
        groups: &[Group],
        learning_rate: f64,
    ) -> Result<Updater<R>, String> {
        let core = Core::new(vars, groups, learning_rate)?;
        let kept = core.blocks().iter().map(|block| Kept::new(&rule, &block.arena)).collect();
        let late = core.blocks().iter().map(|block| {
            let first = format!(".{}", block.arena.parts()[0].name());
            (block.settings.freeze_epochs > 0).then(|| Clock::new(&rule, &core, &first))
        });
        Ok(Updater {
            late: late.collect(),
            clock: Clock::new(&rule, &core, ""),
            vars: vars.to_vec(),
            groups: groups.to_vec(),
            rule,
            core,
            kept,
        })
    }

    /// With these groups of parameters, each with settings of its own. What is remembered of the
    /// parameters is forgotten.
    ///
    /// # Panics
    /// If a group has no parameter, or all parameters are frozen.
    #[must_use]
    #[track_caller]
    pub fn groups(self, groups: &[Group]) -> Self {
        let rate = self.learning_rate();
        expect(Updater::try_new(self.rule, &self.vars, groups, rate))
    }

    /// With another rule of the same kind. What is remembered is kept if it has the same form.
    #[must_use]
    #[track_caller]
    pub(super) fn with(mut self, change: impl FnOnce(&mut R)) -> Self {
        let form = |rule: &R| {
            (self.vars.iter().map(|var| rule.slots(var)).collect::<Vec<_>>(), rule.counts())
        };
        let before = form(&self.rule);
        change(&mut self.rule);
        if form(&self.rule) == before {
            return self;
        }
        let (rate, groups) = (self.learning_rate(), std::mem::take(&mut self.groups));
        expect(Updater::try_new(self.rule, &self.vars, &groups, rate))
    }

    /// The rule.
    pub fn rule(&self) -> &R {
        &self.rule
    }

    /// The block after the step: what is remembered is written, where it learns.
    fn follow(&self, block: &Block, kept: &Kept, now: &Now, mut g: Tensor) -> Tensor {
        let (settings, w) = (&block.settings, block.arena.var().get());
        if let Some(regularizer) = &settings.regularizer {
            let penalty = match regularizer.elementwise() {
                true => regularizer.penalty(&w),
                false => (block.arena.split(&w).iter().map(|w| regularizer.penalty(w)))
                    .reduce(|a, b| a + b)
                    .expect("a block has parameters"),
            };
            g = g + grad(&penalty, &[&w]).remove(0);
        }
        let learns = self.core.learns(block);
        let mut after = kept.step(&self.rule, &block.arena, now, [&w, &g], learns.as_ref());
        if let Some(constraint) = &settings.constraint {
            let parts = block.arena.split(&after);
            let kept: Vec<Tensor> = parts.iter().map(|w| constraint.project(w)).collect();
            after = block.arena.gather(&kept);
        }
        chosen(learns.as_ref(), after, &w)
    }
}

#[track_caller]
fn expect<T>(result: Result<T, String>) -> T {
    match result {
        Ok(value) => value,
        Err(why) => panic!("{why}"),
    }
}

impl Kept {
    fn new<R: Rule>(rule: &R, arena: &Arena) -> Kept {
        let make = |var: &Var| -> Vec<Var> {
            let slot = |slot: Slot| {
                let start = Tensor::full(slot.shape, slot.start, var.dtype());
                Var::new(format!("{}.{}", slot.name, var.name()), start)
            };
            rule.slots(var).into_iter().map(slot).collect()
        };
        let each: Vec<Vec<Var>> = arena.parts().iter().map(make).collect();
        if !rule.elementwise() {
            return Kept::Each(each);
        }
        let names = rule.slots(&arena.parts()[0]);
        let block = |(i, slot): (usize, &Slot)| {
            Arena::new(slot.name, &each.iter().map(|of| of[i].clone()).collect::<Vec<_>>())
        };
        Kept::Block(names.iter().enumerate().map(block).collect())
    }

    fn memory(&self) -> Vec<Memory<'_>> {
        match self {
            Kept::Block(arenas) => arenas.iter().map(Memory::Block).collect(),
            Kept::Each(each) => each.iter().flatten().map(Memory::One).collect(),
        }
    }

    /// The block after the step; what is remembered is written, where it learns.
    fn step<R: Rule>(
        &self,
        rule: &R,
        arena: &Arena,
        now: &Now,
        [w, g]: [&Tensor; 2],
        learns: Option<&Tensor>,
    ) -> Tensor {
        let one = |vars: &[&Var], w: &Tensor, g: &Tensor| {
            let mut slots: Vec<Tensor> = vars.iter().map(|var| var.get()).collect();
            let after = rule.update(now, w, g, &mut slots);
            for (var, value) in vars.iter().zip(slots) {
                var.set(chosen(learns, value, &var.get()));
            }
            after
        };
        match self {
            Kept::Block(arenas) => one(&arenas.iter().map(Arena::var).collect::<Vec<_>>(), w, g),
            Kept::Each(each) => {
                let parts = arena.split(w).into_iter().zip(arena.split(g)).zip(each);
                let after: Vec<Tensor> = parts
                    .map(|((w, g), vars)| one(&vars.iter().collect::<Vec<_>>(), &w, &g))
                    .collect();
                arena.gather(&after)
            }
        }
    }
}

impl<R: Rule> Optimizer for Updater<R> {
    fn core(&self) -> &Core {
        &self.core
    }

    fn update(&self, gradients: Vec<Tensor>) {
        let shared = self.clock.next(&self.rule, None);
        let blocks = self.core.blocks().iter().zip(&self.kept).zip(&self.late);
        for (((block, kept), late), g) in blocks.zip(gradients) {
            let (settings, rate) = (&block.settings, self.core.rate().get());
            let (count, numbers) = match late {
                Some(clock) => clock.next(&self.rule, self.core.learns(block).as_ref()),
                None => shared.clone(),
            };
            let now = Now {
                rate: if settings.lr_factor == 1.0 { rate } else { rate * settings.lr_factor },
                weight_decay: settings.weight_decay.unwrap_or_else(|| self.rule.weight_decay()),
                numbers,
                count,
            };
            block.arena.var().set(self.follow(block, kept, &now, g));
        }
    }

    fn memory(&self) -> Vec<Memory<'_>> {
        let clocks = std::iter::once(&self.clock).chain(self.late.iter().flatten());
        self.kept.iter().flat_map(Kept::memory).chain(clocks.flat_map(Clock::memory)).collect()
    }
}
