//! `Params`: the parameters of a network, in order, under their paths.

use crate::init::{Draw, Initializer};
use crate::pattern;
use nerve_core::{DType, Shape, Tensor, Var};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The parameters and statistics of a network: an ordered store, each under the path that PyTorch
/// gives it in a state dict.
///
/// [`at`](Params::at) goes one step down the path; layers create their variables there. Handles
/// are cheap to clone and lead to the same store.
///
/// ```
/// use nerve_nn::{Params, layers::Linear};
/// let params = Params::new(42);
/// Linear::new(&params.at("encoder").at("fc1"), 784, 128);
/// let paths: Vec<String> = params.all().iter().map(|p| p.path().to_string()).collect();
/// assert_eq!(paths, ["encoder.fc1.weight", "encoder.fc1.bias"]);
/// assert_eq!(params.count(), 784 * 128 + 128);
/// ```
#[derive(Clone)]
pub struct Params {
    store: Arc<Mutex<Store>>,
    scope: String,
    derivation: Option<Derivation>,
}

/// What is created instead of the parameter `name`: parameters from which it is derived.
#[derive(Clone)]
struct Derivation {
    name: &'static str,
    make: Arc<Derive>,
}

type Derive = dyn Fn(&Params, Tensor) -> Var + Send + Sync;

struct Store {
    seed: u64,
    dtype: DType,
    /// Whether parameters begin with what their initialisers give.
    initialised: bool,
    entries: Vec<Parameter>,
    /// Where the entry of a path stands.
    places: HashMap<String, usize>,
}

/// One entry of [`Params`].
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The cell that holds the values. Its name is the path.
    pub var: Var,
    /// What may change it.
    pub role: Role,
}

impl Parameter {
    /// The path, as in a state dict of PyTorch: `conv1.weight`.
    pub fn path(&self) -> &str {
        self.var.name()
    }
}

/// What may change an entry of [`Params`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An optimizer.
    Trainable,
    /// Nothing, for now: see [`Params::freeze`].
    Frozen,
    /// Only the layer that it belongs to: a running statistic.
    Buffer,
}

impl Params {
    /// An empty store for parameters of type f32. The same seed gives the same initial values.
    pub fn new(seed: u64) -> Params {
        Params::with_dtype(seed, DType::F32)
    }

    /// An empty store for parameters of a type of floats.
    ///
    /// # Panics
    /// If `dtype` is not one.
    #[track_caller]
    pub fn with_dtype(seed: u64, dtype: DType) -> Params {
        assert!(dtype.is_float(), "parameters are f32 or f64, not {dtype}");
        let (entries, places) = (Vec::new(), HashMap::new());
        let store = Store { seed, dtype, initialised: true, entries, places };
        Params { store: Arc::new(Mutex::new(store)), scope: String::new(), derivation: None }
    }

    /// An empty store for a network whose numbers come from a file: no random number is drawn,
    /// parameters are zeros, and take no memory, until [`Params::load`] or
    /// [`Params::load_safetensors`] writes them.
    ///
    /// ```
    /// use nerve_nn::{Params, layers::Linear};
    /// let trained = Params::new(42);
    /// Linear::new(&trained, 3, 2);
    /// let params = Params::for_loading();
    /// Linear::new(&params, 3, 2);
    /// params.load(&trained.state()).unwrap();
    /// assert_eq!(params.state(), trained.state());
    /// ```
    pub fn for_loading() -> Params {
        let params = Params::new(0);
        params.lock().initialised = false;
        params
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        // No code that may panic half done runs under the lock.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step down the path: what is created there is called `name.…`.
    pub fn at(&self, name: impl fmt::Display) -> Params {
        Params { store: self.store.clone(), scope: self.path(&name), derivation: None }
    }

    /// The same place, where instead of a parameter `name` directly below `make` is asked for a
    /// variable, with the initial value: it creates parameters of its own there and derives the
    /// wanted one from them ([`Var::derived`]). Weight normalisation is made so, of any layer.
    pub fn deriving(
        &self,
        name: &'static str,
        make: impl Fn(&Params, Tensor) -> Var + Send + Sync + 'static,
    ) -> Params {
        Params { derivation: Some(Derivation { name, make: Arc::new(make) }), ..self.clone() }
    }

    fn path(&self, name: &impl fmt::Display) -> String {
        match self.scope.is_empty() {
            true => name.to_string(),
            false => format!("{}.{name}", self.scope),
        }
    }

    /// The type of the parameters.
    pub fn dtype(&self) -> DType {
        self.lock().dtype
    }

    /// The seed of the initial values.
    pub fn seed(&self) -> u64 {
        self.lock().seed
    }

    /// Creates a trainable parameter with values from `init`.
    ///
    /// Each parameter draws from a stream of its own: the number of entries created before it.
    ///
    /// # Panics
    /// If the path is taken already.
    #[track_caller]
    pub fn var(
        &self,
        name: impl fmt::Display,
        shape: impl Into<Shape>,
        init: &dyn Initializer,
    ) -> Var {
        let initial = self.initial(&shape.into(), init);
        if let Some(derivation) = &self.derivation
            && derivation.name == name.to_string()
        {
            let plain = Params { derivation: None, ..self.clone() };
            return (derivation.make)(&plain, initial);
        }
        self.insert(Var::new(self.path(&name), initial), Role::Trainable)
    }

    fn initial(&self, shape: &Shape, init: &dyn Initializer) -> Tensor {
        let (seed, dtype, number, initialised) = {
            let store = self.lock();
            (store.seed, store.dtype, store.entries.len(), store.initialised)
        };
        if !initialised {
            return Tensor::full(shape, 0.0, dtype);
        }
        let key = Tensor::random_key(seed, 0);
        init.tensor(shape, &Draw { key, stream: number as u32, dtype })
    }

    /// Creates a variable that no optimizer changes: a running statistic.
    ///
    /// # Panics
    /// If the path is taken already.
    #[track_caller]
    pub fn buffer(&self, name: impl fmt::Display, initial: Tensor) -> Var {
        self.insert(Var::new(self.path(&name), initial), Role::Buffer)
    }

    /// Creates a trainable parameter with these values.
    ///
    /// # Panics
    /// If the path is taken already.
    #[track_caller]
    pub fn with_value(&self, name: impl fmt::Display, value: Tensor) -> Var {
        self.insert(Var::new(self.path(&name), value), Role::Trainable)
    }

    #[track_caller]
    fn insert(&self, var: Var, role: Role) -> Var {
        let mut store = self.lock();
        let place = store.entries.len();
        let taken = store.places.contains_key(var.name());
        if !taken {
            store.places.insert(var.name().to_string(), place);
            store.entries.push(Parameter { var: var.clone(), role });
        }
        drop(store);
        assert!(
            !taken,
            "there are two parameters `{}`: give each layer a path of its own",
            var.name()
        );
        var
    }

    /// Whether `path` is this store's scope or below it.
    fn covers(&self, path: &str) -> bool {
        under(path, &self.scope)
    }

    /// All entries at this path and below, in order of creation.
    pub fn all(&self) -> Vec<Parameter> {
        let store = self.lock();
        store.entries.iter().filter(|entry| self.covers(entry.path())).cloned().collect()
    }

    fn with_role(&self, wanted: impl Fn(Role) -> bool) -> Vec<Var> {
        self.all().into_iter().filter(|entry| wanted(entry.role)).map(|entry| entry.var).collect()
    }

    /// The variables that an optimizer changes, in order of creation.
    pub fn trainable(&self) -> Vec<Var> {
        self.with_role(|role| role == Role::Trainable)
    }

    /// All variables, those that no optimizer changes too, in order of creation.
    pub fn vars(&self) -> Vec<Var> {
        self.with_role(|_| true)
    }

    /// The entry of this path, counted from here.
    pub fn get(&self, path: &str) -> Option<Parameter> {
        let path = self.path(&path);
        let store = self.lock();
        store.places.get(&path).map(|&place| store.entries[place].clone())
    }

    /// Number of parameters, frozen ones too, without statistics.
    pub fn count(&self) -> usize {
        self.with_role(|role| role != Role::Buffer).iter().map(|var| var.shape().numel()).sum()
    }

    /// Keeps optimizers that are made from now on from changing the parameters whose path, counted
    /// from here, the pattern matches (`"encoder"`: `encoder.fc1.weight`, …; `"*.bias"`; `""`: all;
    /// see [`pattern::matches`]). Gives the number of parameters that were not frozen.
    pub fn freeze(&self, pattern: &str) -> usize {
        self.turn(pattern, Role::Trainable, Role::Frozen)
    }

    /// Undoes [`freeze`](Params::freeze). Gives the number of parameters that were frozen.
    pub fn unfreeze(&self, pattern: &str) -> usize {
        self.turn(pattern, Role::Frozen, Role::Trainable)
    }

    /// [`unfreeze`](Params::unfreeze) with a pattern of whole paths.
    pub(crate) fn thaw(&self, pattern: &str) -> usize {
        self.root().unfreeze(pattern)
    }

    /// The same store without the way that led here.
    pub(crate) fn root(&self) -> Params {
        Params { store: self.store.clone(), scope: String::new(), derivation: None }
    }

    fn turn(&self, pattern: &str, from: Role, to: Role) -> usize {
        let pattern = if pattern.is_empty() { self.scope.clone() } else { self.path(&pattern) };
        let mut store = self.lock();
        let fits = |e: &&mut Parameter| e.role == from && pattern::matches(&pattern, e.var.name());
        store.entries.iter_mut().filter(fits).map(|entry| entry.role = to).count()
    }
}

/// Whether `path` is `scope` or below it.
fn under(path: &str, scope: &str) -> bool {
    scope.is_empty()
        || path.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::{Normal, Zeros};

    #[test]
    fn order_paths_and_roles() {
        let params = Params::new(1);
        params.at("b").var("weight", [2], &Zeros);
        params.at("a").buffer("mean", Tensor::zeros([2]));
        params.at("a").at("x").var("weight", [3], &Zeros);
        params.at("ab").var("weight", [5], &Zeros);
        let paths: Vec<String> = params.all().iter().map(|p| p.path().into()).collect();
        assert_eq!(paths, ["b.weight", "a.mean", "a.x.weight", "ab.weight"]);
        assert_eq!(params.at("a").all().len(), 2, "`ab` is not below `a`");
        assert_eq!((params.count(), params.at("a").count()), (10, 3));
        assert_eq!(params.freeze("a"), 1);
        assert_eq!(params.get("a.x.weight").map(|p| p.role), Some(Role::Frozen));
        assert_eq!(params.get("a.mean").map(|p| p.role), Some(Role::Buffer));
        let names: Vec<String> = params.trainable().iter().map(|v| v.name().into()).collect();
        assert_eq!(names, ["b.weight", "ab.weight"]);
        assert_eq!((params.freeze(""), params.unfreeze("")), (2, 3));
        assert_eq!((params.freeze("*.weight"), params.at("a").unfreeze("x")), (3, 1));
    }

    #[test]
    #[should_panic(expected = "two parameters `fc.weight`")]
    fn a_path_is_used_once() {
        let params = Params::new(1);
        params.at("fc").var("weight", [2], &Zeros);
        params.at("fc").var("weight", [2], &Zeros);
    }

    #[test]
    fn the_seed_decides_the_values_and_each_parameter_has_its_own() {
        let draw = |seed| {
            let params = Params::new(seed);
            let normal = Normal { mean: 0.0, std: 1.0 };
            ["a", "b"].map(|name| params.var(name, [64], &normal).to_vec::<f32>())
        };
        assert_eq!(draw(7), draw(7));
        let ([a, b], [c, _]) = (draw(7), draw(8));
        assert!(a != b && a != c);
    }
}
