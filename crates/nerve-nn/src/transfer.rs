//! Transfer learning: parameters from another model.

use crate::params::{Params, Role};
use crate::pattern;
use crate::state::{LoadError, Mismatch, Rules, load_by, ready};
use nerve_formats::safetensors::SafeTensors;
use std::collections::HashSet;
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
    ignored: Vec<String>,
    strict: bool,
    partial: bool,
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

    /// As [`rename`](Transfer::rename), from one text: `module.* = *`.
    ///
    /// # Errors
    /// It is not of that form, in words.
    pub fn rename_by(self, text: &str) -> Result<Transfer, String> {
        let fits = |part: &&str| !part.is_empty() && part.matches('*').count() <= 1;
        let split = text.split_once('=').map(|(from, to)| (from.trim(), to.trim()));
        match split.filter(|(from, to)| {
            [from, to].into_iter().all(fits) && from.contains('*') == to.contains('*')
        }) {
            Some((from, to)) => Ok(self.rename(from, to)),
            None => Err(format!(
                "`{text}` renames nothing: expected FROM=TO, with one `*` in each or in none"
            )),
        }
    }

    /// All that the file holds must be wanted, but for what is [ignored](Transfer::ignore).
    #[must_use]
    pub fn strict(mut self) -> Transfer {
        self.strict = true;
        self
    }

    /// What the file lacks stays as it is.
    #[must_use]
    pub fn partial(mut self) -> Transfer {
        self.partial = true;
        self
    }

    /// What one of these patterns matches in the file is of no interest (names of the file, before they
    /// are renamed).
    #[must_use]
    pub fn ignore(mut self, patterns: &[&str]) -> Transfer {
        self.ignored.extend(patterns.iter().map(|p| p.to_string()));
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
    /// All that is asked for and missing in the file, or of another shape or type there, every
    /// pattern that fits nothing, and, if it is strict, what nobody asked for; nothing has then been
    /// loaded.
    pub fn load(&self, params: &Params, file: &SafeTensors) -> Result<Report, LoadError> {
        let ignored = |name: &str| self.ignored.iter().any(|p| pattern::matches(p, name));
        let names: Vec<(String, String)> = file
            .iter()
            .filter(|tensor| !ignored(tensor.name))
            .map(|tensor| (self.here(tensor.name), tensor.name.to_string()))
            .collect();
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
        let rules = Rules { missing: self.partial, unexpected: !self.strict };
        let shapes = names.iter().filter_map(|(here, there)| {
            file.get(there).map(|tensor| (here.as_str(), tensor.shape))
        });
        report.loaded = load_by(rules, &named, others, shapes, |name, var| {
            let tensor = find(name)?;
            Some((tensor.shape.into(), ready(&tensor, var.dtype())))
        })?;
        let loaded: HashSet<&str> = report.loaded.iter().map(String::as_str).collect();
        let kept =
            named.iter().map(|(name, _)| name).filter(|name| !loaded.contains(name.as_str()));
        report.kept.extend(kept.cloned());
        let unused = |(here, _): &&(String, String)| !loaded.contains(here.as_str());
        report.unused = names.iter().filter(unused).map(|(_, there)| there.clone()).collect();
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
    fn strict_and_in_part() {
        let strict = Transfer::new().rename_by("net.* = enc.*").unwrap().strict();
        let error = strict.clone().load(&params(), &file()).unwrap_err().to_string();
        assert_eq!(
            error,
            "the state does not fit the network:\n  \
             `enc.c.weight` [4] is missing\n  `other` [1] is not expected"
        );
        let params = params();
        let report = strict.ignore(&["oth*"]).partial().load(&params, &file()).unwrap();
        assert_eq!(report.loaded, ["enc.a.weight", "enc.b.weight"]);
        assert_eq!((report.kept, report.unused.len()), (vec!["enc.c.weight".to_string()], 0));
        let error = Transfer::new().load(&params, &file()).unwrap_err().to_string();
        assert!(error.contains("`enc.a.weight` [2] is missing; is it `net.a.weight`?"), "{error}");
        for wrong in ["a", "a*b*=c", "=b", "a*=b"] {
            assert!(Transfer::new().rename_by(wrong).is_err(), "{wrong}");
        }
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
