//! Transfer learning: parameters from another model.

use crate::params::{Params, Role};
use crate::pattern;
use crate::state::{LoadError, Mismatch, load_by, ready};
use nerve_formats::safetensors::SafeTensors;
use std::fmt;

/// Which parameters to take from another model, and how they are called there.
///
/// ```
/// use nerve_nn::transfer::Transfer;
/// use nerve_nn::{Params, layers::Linear};
/// # let folder = std::env::temp_dir().join("nerve-transfer-example");
/// # std::fs::create_dir_all(&folder).unwrap();
/// # let path = folder.join(format!("{}.safetensors", std::process::id()));
/// # let there = Params::new(1);
/// # Linear::new(&there.at("module").at("body"), 4, 8);
/// # Linear::new(&there.at("module").at("head"), 8, 1000);
/// # there.save_safetensors(&path, &[]).unwrap();
/// let params = Params::new(42);
/// Linear::new(&params.at("body"), 4, 8);
/// Linear::new(&params.at("head"), 8, 2); // another task: it stays fresh
/// let file = nerve_formats::SafeTensors::open(&path, &Default::default()).unwrap();
/// let report = Transfer::new().rename("module.*", "*").except(&["head"]).load(&params, &file);
/// let report = report.unwrap();
/// assert_eq!(report.loaded, ["body.weight", "body.bias"]);
/// assert_eq!(report.unused, ["module.head.weight", "module.head.bias"]);
/// # std::fs::remove_file(&path).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Transfer {
    only: Vec<String>,
    except: Vec<String>,
    renames: Vec<(String, String)>,
}

/// What a [`Transfer`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Parameters and statistics that were taken over.
    pub loaded: Vec<String>,
    /// Those that stay as they were, because they were not asked for.
    pub kept: Vec<String>,
    /// What the file holds beside, under the names of the file.
    pub unused: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { loaded, kept, unused } = self;
        write!(f, "{} taken over", loaded.len())?;
        for (names, what) in [(kept, "as they were"), (unused, "not used")] {
            if !names.is_empty() {
                write!(f, "; {} {what}: {}", names.len(), names.join(", "))?;
            }
        }
        Ok(())
    }
}

impl Transfer {
    /// Everything, under the same names.
    pub fn new() -> Transfer {
        Transfer::default()
    }

    /// Only what one of these patterns matches ([`pattern::matches`], names of this model).
    #[must_use]
    pub fn only(mut self, patterns: &[&str]) -> Transfer {
        self.only.extend(patterns.iter().map(|p| p.to_string()));
        self
    }

    /// Not what one of these patterns matches: that stays as it is.
    #[must_use]
    pub fn except(mut self, patterns: &[&str]) -> Transfer {
        self.except.extend(patterns.iter().map(|p| p.to_string()));
        self
    }

    /// What is called `from` in the file is called `to` here. With one `*` in each, it stands for
    /// the same text in both. The first that fits a name counts.
    #[must_use]
    pub fn rename(mut self, from: &str, to: &str) -> Transfer {
        self.renames.push((from.to_string(), to.to_string()));
        self
    }

    /// What a name of the file is here.
    fn here(&self, name: &str) -> String {
        let renamed = |(from, to): &(String, String)| {
            let Some((before, after)) = from.split_once('*') else {
                return (from == name).then(|| to.clone());
            };
            let middle = name.strip_prefix(before)?.strip_suffix(after)?;
            Some(to.replacen('*', middle, 1))
        };
        self.renames.iter().find_map(renamed).unwrap_or_else(|| name.to_string())
    }

    fn wants(&self, name: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|p| pattern::matches(p, name));
        (self.only.is_empty() || any(&self.only)) && !any(&self.except)
    }

    /// Takes parameters and statistics over from a safetensors file. Roles stay: what is frozen is
    /// loaded as well.
    ///
    /// # Errors
    /// All that is asked for and missing in the file, or of another shape or type there, and every
    /// pattern that fits nothing; nothing has then been loaded.
    pub fn load(&self, params: &Params, file: &SafeTensors) -> Result<Report, LoadError> {
        let names: Vec<(String, String)> =
            file.iter().map(|tensor| (self.here(tensor.name), tensor.name.to_string())).collect();
        let mut report = Report::default();
        let mut wanted = Vec::new();
        for entry in params.all() {
            match self.wants(entry.path()) {
                true => wanted.push(entry.var),
                false => report.kept.push(entry.path().to_string()),
            }
        }
        let fits_nothing =
            |p: &&String| !params.all().iter().any(|e| pattern::matches(p, e.path()));
        let idle = self.only.iter().chain(&self.except).filter(fits_nothing);
        let idle = idle.map(|p| Mismatch::Pattern { pattern: p.clone() });
        let several = wanted.iter().filter_map(|var| {
            let of = names.iter().filter(|(here, _)| here == var.name());
            let found: Vec<String> = of.map(|(_, there)| there.clone()).collect();
            let name = var.name().to_string();
            (found.len() > 1).then_some(Mismatch::Ambiguous { name, found })
        });
        let others: Vec<Mismatch> = several.chain(idle).collect();
        let find = |name: &str| {
            names.iter().find(|(here, _)| here == name).and_then(|(_, there)| file.get(there))
        };
        let named: Vec<_> =
            wanted.iter().map(|var| (var.name().to_string(), var.clone())).collect();
        load_by(&named, others, std::iter::empty(), |name, var| {
            let tensor = find(name)?;
            Some((tensor.shape.into(), ready(&tensor, var.dtype())))
        })?;
        report.loaded = wanted.iter().map(|var| var.name().to_string()).collect();
        let used = |(here, _): &&(String, String)| !wanted.iter().any(|v| v.name() == here);
        report.unused = names.iter().filter(used).map(|(_, there)| there.clone()).collect();
        Ok(report)
    }
}

impl Params {
    /// The paths of the parameters that optimizers made from now on leave alone.
    pub fn frozen(&self) -> Vec<String> {
        let frozen = self.all().into_iter().filter(|entry| entry.role == Role::Frozen);
        frozen.map(|entry| entry.path().to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Constant;
    use nerve_formats::safetensors::{Elements, NewTensor, to_bytes};

    fn file() -> SafeTensors {
        let tensor =
            |name, shape: &'static [usize], values| NewTensor { name, shape, data: values };
        let tensors = [
            tensor("net.a.weight", &[2], Elements::F32(&[5.0, 6.0])),
            tensor("net.b.weight", &[3], Elements::F64(&[7.0, 8.0, 9.0])),
            tensor("other", &[1], Elements::F32(&[0.0])),
        ];
        SafeTensors::from_bytes("m", &to_bytes(&tensors, &[]).unwrap()).unwrap()
    }

    fn params() -> Params {
        let params = Params::new(1);
        for (name, n) in [("a", 2), ("b", 3), ("c", 4)] {
            params.at("enc").at(name).var("weight", [n], &Constant(1.0));
        }
        params
    }

    #[test]
    fn renamed_in_part_and_told() {
        let params = params();
        params.freeze("enc.b");
        let transfer = Transfer::new().rename("net.*", "enc.*").only(&["enc.a", "enc.b"]);
        let report = transfer.load(&params, &file()).unwrap();
        assert_eq!(
            report.to_string(),
            "2 taken over; 1 as they were: enc.c.weight; 1 not used: other"
        );
        let values: Vec<f32> = params.vars().iter().map(|var| var.to_vec::<f32>()[0]).collect();
        assert_eq!(values, [5.0, 7.0, 1.0]);
        assert_eq!(params.frozen(), ["enc.b.weight"]);
    }

    #[test]
    fn all_that_is_wrong_at_once_and_nothing_loaded() {
        let params = params();
        let transfer = Transfer::new()
            .rename("net.b.weight", "enc.a.weight")
            .rename("net.*", "enc.b.weight")
            .rename("other", "enc.b.weight")
            .except(&["hed"]);
        let error = transfer.load(&params, &file()).unwrap_err().to_string();
        assert_eq!(
            error,
            "the state does not fit the network:\n  \
             `enc.a.weight`: expected shape [2], found [3]\n  \
             `enc.b.weight`: expected shape [3], found [2]\n  \
             `enc.c.weight` [4] is missing\n  \
             `enc.b.weight` could be any of net.a.weight, other\n  \
             the pattern `hed` fits no parameter"
        );
        assert!(params.vars().iter().all(|var| var.to_vec::<f32>()[0] == 1.0));
    }
}
